"""The generated workspace with all that a circuit's evidence can be: references, edges, pairs, areas, paths, practices,
calibration points, interventions of every verdict; texts in them are hostile."""

from __future__ import annotations

import datetime
import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
from generated import BIDI, CIRCUIT, HOSTILE, Made, make

from data.store import Workspace, append

REFERENCES = ("counterfactual", "mean", "zero")
SIZES = {"nodes": (5, 20, 80, 190), "edges": (10, 100, 800)}
PAIRS = 24
VERDICTS = ("verified", "contradicted", "untested")


def make_evidence(folder: Path, seed: int = 1) -> Made:
    """Writes the workspace into `folder`."""
    made, chance = make(folder), random.Random(seed)
    workspace = made.workspace
    shares = _shares(chance)
    with workspace.write() as db:
        db.execute("delete from evaluations")
        append(db, "evaluations", _evaluations(shares))
        append(db, "areas", _areas())
        append(db, "paths", _paths(workspace_nodes(db)))
        append(db, "bench", _practices())
        append(db, "interventions", [_intervention(i, name, chance) for i, name in enumerate(VERDICTS * 2)])
        append(db, "runs", [_run(i) for i in range(len(VERDICTS) * 2)])
        db.execute("update runs set config = ? where run = 'run000000002'", [CONFIG])
        db.execute("update circuits set missed = ?, summary = ?", [MISSED, SUMMARY])
        db.execute(
            """update nodes set mean_absolute = if(rank % 7 = 0, 3, 1.2) * abs(effect),
               sign_agreement = if(rank % 7 = 0, 0.6, 1),
               inclusion = exp(-rank / 120.0), second_order = if(verified is null, null, rank / 50.0),
               unreliable = if(verified is null, null, rank > 50) where kind <> 'logit'"""
        )
        db.execute("update edges set verified_lower = verified - 0.01, verified_upper = verified + 0.01")
    _parts(workspace, shares, chance)
    return made


CONFIG = '{"seed": 0, "model": "someone/tiny-model", "task": "agreement", "pairs": 64, "reference": "counterfactual"}'
MISSED = (
    '{"confidence": 0.95, "unverified": 131, "subsets": 512, "bound": 0.31, "chance": 0.2, "largest_estimate": 0.04, '
    '"total_effect": 4.62, "sample": {"nodes": 20, "largest": 0.05, "share": 0.139}}'
)
SUMMARY = (
    '{"total_effect": 4.62, "completeness_gap": {"resid_post:5": 0.03, "resid_post:10": -0.0004}, "sign_cancelling": 28, '
    '"cancelled_share": 0.09, "stability": {"draws": 200, "nodes": {"jaccard": 0.51, "lower": 0.4, "upper": 0.64, '
    '"chance": 0.04}, "edges": null}, "paths": {"total": 4.62, "from_tokens": {"value": 0.41, "lower": 0.3, "upper": 0.5}, '
    '"later": {"value": 0.5, "lower": 0.4, "upper": 0.6}, "rest": {"value": 0.09, "lower": 0.05, "upper": 0.12}}}'
)


def workspace_nodes(db: Any) -> list[str]:
    """The circuit's nodes by rank, the metric's own left out."""
    found = db.execute("select node from nodes where kind <> 'logit' order by rank").fetchall()
    return [name for (name,) in found]


def _shares(chance: random.Random) -> dict[tuple[str, str, str, int], list[float]]:
    """The share of every pair at every point: (mask, ablation, kind, size)."""
    found = {}
    for mask, sizes in SIZES.items():
        for reference in REFERENCES if mask == "nodes" else REFERENCES[:2]:
            for kind in ("faithfulness", "completeness"):
                for size in sizes:
                    kept = 1 - math.exp(-size / 40)
                    mean = (kept if kind == "faithfulness" else 1 - kept) * (0.2 if reference == "zero" else 1)
                    found[mask, reference, kind, size] = [mean + chance.gauss(0, 0.1) for _ in range(PAIRS)]
    return found


def _evaluations(shares: dict[tuple[str, str, str, int], list[float]]) -> list[dict[str, Any]]:
    rows = []
    for (mask, reference, kind, size), values in shares.items():
        ranked, mean = sorted(values), sum(values) / len(values)
        ideal = 1.0 if kind == "faithfulness" else 0.0
        rows.append(
            {
                "circuit": CIRCUIT, "kind": kind, "mask": mask, "ablation": reference, "size": size, "value": mean,
                "lower": mean - 0.05, "upper": mean + 0.05, "control": 0.02, "control_lower": 0.0, "control_upper": 0.04,
                "worst": max(values, key=lambda v: abs(v - ideal)), "tenth": ranked[2], "median": ranked[PAIRS // 2],
                "ninetieth": ranked[-3], "examples": PAIRS, "draws": 5,
            }
        )  # fmt: skip
    return rows


def _areas() -> list[dict[str, Any]]:
    rows = []
    for mask in SIZES:
        for reference in REFERENCES[: 3 if mask == "nodes" else 2]:
            for name in ("log area", "CPR", "CMD") if mask == "nodes" else ("log area",):
                value = {"log area": 0.7, "CPR": 0.9, "CMD": 0.1}[name]
                rows.append(
                    {
                        "circuit": CIRCUIT, "name": name, "kind": "faithfulness", "mask": mask, "ablation": reference,
                        "value": value, "lower": value - 0.02, "upper": value + 0.02, "control": 0.05,
                        "control_lower": 0.04, "control_upper": 0.06,
                    }
                )  # fmt: skip
    return rows


def _paths(nodes: list[str]) -> list[dict[str, Any]]:
    rows = []
    for rank in range(1, 13):
        weight = (-1) ** rank * 0.5 / rank
        rows.append(
            {
                "circuit": CIRCUIT, "rank": rank, "token": HOSTILE if rank == 1 else " keys",
                "nodes": [nodes[rank], nodes[rank + 20]], "weight": weight, "lower": weight - 0.01, "upper": weight + 0.01,
                "share": weight / 4.62, "share_lower": weight / 4.62 - 0.01, "share_upper": weight / 4.62 + 0.01,
            }
        )  # fmt: skip
    return rows


def _practices() -> list[dict[str, Any]]:
    rows = [
        {"task": "agreement", "site": "resid_post:5/site:0@2", "method": reference, "metric": f"restored share of {metric}",
         "value": 0.8, "lower": 0.7, "upper": 0.9, "control": 0.75 if reference == "zero" else 0.1, "trials": 64,
         "run": "practices001"}
        for reference in ("counterfactual", "zero")
        for metric in ("logit difference", "probability")
    ]  # fmt: skip
    rows.append(
        {"task": "agreement", "site": "all", "method": "counterfactual, logit difference",
         "metric": "rank correlation with zero, probability", "value": 0.35, "lower": 0.1, "upper": 0.6, "control": 0.4,
         "trials": 12, "run": "practices001"}
    )  # fmt: skip
    return rows


def _run(number: int) -> dict[str, Any]:
    begun = datetime.datetime(2026, 11, 23, 9, 0) + datetime.timedelta(minutes=number)
    practices = number == 0
    config = {"seed": 0, "model": "someone/tiny-model", "task": "agreement"}
    more = (
        {} if practices else {"circuit": CIRCUIT, "nodes": "resid_post:5/latent:3@2", "pairs": 64, "reference": "mean"}
    )
    return {
        "run": "practices001" if practices else f"intervene{number:03d}", "verb": "practices" if practices else "intervene",
        "config": config | more, "recipe": f"recipe{number}", "seed": 0, "version": "0.0.1", "packages": {},
        "status": "done", "started": begun, "finished": begun, "error": None, "pid": 7, "host": "elsewhere",
        "summary": {"seconds": 3.0},
    }  # fmt: skip


def _intervention(number: int, verdict: str, chance: random.Random) -> dict[str, Any]:
    many = 1 if verdict == "untested" else PAIRS
    measured = [-1.0 + (chance.gauss(0, 0.2) if many > 1 else 0.0) for _ in range(many)]
    mean = sum(measured) / many
    predicted = mean + {"verified": 0.01, "contradicted": -2.0, "untested": -0.5}[verdict]
    ends = {"verified": (predicted - 0.1, predicted + 0.1)}.get(verdict, (mean - 0.1, mean + 0.1))
    control = -0.02 if number < 3 else mean
    return {
        "intervention": f"inter{number:011d}", "run": f"intervene{number:03d}", "model": "tiny",
        "task": None if verdict == "untested" else "agreement", "circuit": None if verdict == "untested" else CIRCUIT,
        "example": f"The keys {HOSTILE}", "does": ("ablate", "scale", "add")[number % 3],
        "amount": None if number % 3 == 0 else 2.0, "reference": "mean", "attention": ("free", "frozen")[number % 2],
        "nodes": ["resid_post:5/latent:3@2", f"resid_post:10/latent:{number}@3"], "size": 2, "examples": many,
        "metric": "logit difference", **_with_interval("before", 3.0), **_with_interval("after", 2.0),
        **_with_interval("predicted", predicted), "measured": mean, "measured_lower": ends[0], "measured_upper": ends[1],
        **_with_interval("control", control), "accuracy_before": 1.0, "accuracy_after": 0.5,
        "control_task": "induction" if verdict == "contradicted" else None, "control_before": 1.0, "control_after": 0.9,
        **_with_interval("control_change", -0.1), "control_accuracy_before": 1.0, "control_accuracy_after": 0.9,
        "details": {
            "predicted": [predicted] * many, "measured": measured, "by_site": {"resid_post:5": -0.6, "resid_post:10": -0.4},
            "draws": [-0.1, 0.0, 0.1],
            "top": {when: [{"token": HOSTILE, "probability": 0.5}] for when in ("before", "after")},
            "texts": {"before": f" are {BIDI}", "after": f" is {HOSTILE}"},
        },
    }  # fmt: skip


def _with_interval(name: str, value: float) -> dict[str, float]:
    return {name: value, f"{name}_lower": value - 0.1, f"{name}_upper": value + 0.1}


def _parts(workspace: Workspace, shares: dict[tuple[str, str, str, int], list[float]], chance: random.Random) -> None:
    points = [
        {"example": i, "mask": mask, "ablation": reference, "kind": kind, "size": size, "share": value}
        for (mask, reference, kind, size), values in shares.items()
        for i, value in enumerate(values)
    ]
    workspace.write_part(f"effects/{CIRCUIT}/part-evaluations.parquet", pa.Table.from_pylist(points))
    with workspace.read() as db:
        known = db.execute(
            "select node, site, effect, verified from nodes where verified is not null and rank > 0"
        ).fetchall()
    scatter = [
        {"name": name, "site": site, "sample": "most important", "estimated": estimate, "exact": exact}
        for name, site, estimate, exact in known
    ]
    scatter += [
        {"name": f"resid_post:5/latent:{900 + i}@2", "site": "resid_post:5", "sample": "random",
         "estimated": chance.gauss(0, 0.01), "exact": chance.gauss(0, 0.01)}
        for i in range(20)
    ]  # fmt: skip
    scatter += [
        {"name": f"{known[i][0]} -> logit@5", "site": "resid_post:10 -> metric", "sample": "most important",
         "estimated": 0.1 * i, "exact": 0.1 * i + 0.01}
        for i in range(5)
    ]  # fmt: skip
    workspace.write_part(f"effects/{CIRCUIT}/part-calibration.parquet", pa.Table.from_pylist(scatter))
