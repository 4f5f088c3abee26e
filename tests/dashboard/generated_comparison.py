"""More rows for a generated workspace: what is compared, clustered, chosen, benched and planned; hostile where it can be.

Two more circuits (the second tested against the first one, the third against nobody), a comparison of both dictionaries, a
clustering, SHIFT by auto and by a person, a bench with planted features, a self-test, judges, a plan, a ledger.
"""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from generated import BIDI, CIRCUIT, HOSTILE, IMAGE, LATENTS, Made, make

from data.store import append
from data.words import digest

OTHER = "c1rcu1t000000002"
THIRD = "c1rcu1t000000003"
DIFF, SIMILAR, CLUSTERS, AUTO, PERSON, BENCH, SELFTEST, PLAN = (
    "rundiff00000", "runsimilar00", "runclusters0", "runshift0000", "runshift0001", "runbench0000", "runselftest0",
    "runplan00000",
)  # fmt: skip
RECIPE = "clusterrecipe000"
STATUSES = ("added", "lost", "re-weighted", "sign changed", "outside", "same")
SHIFT = {
    "texts": "", "model": "someone/tiny-model", "site": "", "sites": "", "method": "attribution_patching", "steps": 10,
    "nodes": 8, "train": 64, "discovery": 16, "test": 64, "draws": 2, "batch": 32, "seed": 0,
}  # fmt: skip
CLASSIFIERS = ("original", "oracle", "all latents shown", "SHIFT", "SHIFT, retrained", "random latents")
RUNGS = ("exact", "broad", "narrow", "sibling", "generic", "shuffled", "empty", "injection", "list")


@dataclass(frozen=True)
class More:
    """What a test may want to name."""

    made: Made
    differences: list[dict[str, Any]]
    matches: list[dict[str, Any]]
    clusters: list[dict[str, Any]]
    latents: list[dict[str, Any]]
    plans: list[dict[str, Any]]
    responses: list[dict[str, Any]]

    @property
    def folder(self) -> Path:
        return self.made.workspace.folder


_shared: list[More] = []


def shared(tmp_path_factory: pytest.TempPathFactory) -> More:
    """The same workspace for all modules of tests that only read it: it takes seconds to make on a busy core."""
    if not _shared:
        _shared.append(make_more(tmp_path_factory.mktemp("more") / "workspace"))
    return _shared[0]


def make_more(folder: Path, seed: int = 1) -> More:
    """A generated workspace in `folder`, and all of these rows."""
    made, chance = make(folder), random.Random(seed)
    names = list(made.dictionaries.values())
    differences, matches = _differences(chance), _matches(names, chance)
    clusters, latents = _clusters(chance), _latents(names, chance)
    plans, responses = _plans(), _responses(chance)
    with made.workspace.write() as db:
        append(db, "runs", _runs(names))
        for circuit, shift in ((OTHER, 0.5), (THIRD, 0.0)):
            _copy(db, circuit, shift)
        tables = {
            "differences": differences, "matches": matches, "findings": _findings(names), "clusters": clusters,
            "shift_latents": latents, "shift_scores": _shift_scores(), "ground": _ground(), "bench": _bench(),
            "ground_explained": _explained(), "plans": plans, "responses": responses,
        }  # fmt: skip
        for table, rows in tables.items():
            append(db, table, rows)
        db.execute("update scores set judge = 'judge ' || ?, judge_difference = .3, judge_lower = .1, judge_upper = .5, "
                   "degenerate = false, failures = 1 where scorer = 'embedding'", [HOSTILE])  # fmt: skip
        db.execute("update scores set judge = 'yes-man', degenerate = true where scorer = 'surprisal'")
    return More(made, differences, matches, clusters, latents, plans, responses)


def _runs(names: list[str]) -> list[dict[str, Any]]:
    diff = {"left": CIRCUIT, "right": OTHER, "rate": 0.05, "nodes": 0, "edges": 0, "likeness": 0.7, "seed": 0}
    told = {
        "rate": 0.05, "tested": {"node": 48, "edge": 12}, "findings": {"node": dict.fromkeys(STATUSES[:-1], 8), "edge": {}},
        "in_one_alone_without_difference": 3, "notes": [f"note {HOSTILE}"], "places": "place",
        "sites": ["resid_post:5", "resid_post:10"], "sites_left_out": [], "dictionaries": {},
        "not_compared": {"left": 1, "right": 0}, "same_prompts": False, "examples": {"left": 64, "right": 64},
        "detectable": 0.031, "finest_p": 1e-4, "control": {"deals": 5, "findings": 0.2, "with_any": 0.2},
    }  # fmt: skip
    plan = {"features": 1_000_000, "tokens": 10_000_000, "latents": 0, "machines": 4, "endpoints": 2, "price_in": 0.15,
            "price_out": 0.6, "price_hour": None, "price_gb": 0.02, "out": ""}  # fmt: skip
    bench = {"features": 3, "tokens": 40_000, "left_out": ["x"], "remarks": {"embedding": {f"r {HOSTILE}": 2}}}
    test = {"fault": "", "spliced": f"model {HOSTILE}", "errors": {"relp": f"Mistake: {IMAGE}"}, "seconds": 12.0}
    shift = {"removed": 3, "calibration": {"pearson": 0.9, "pearson_lower": 0.8, "pearson_upper": 0.95},
             "errors": {"resid_post:5": 0.08}}  # fmt: skip
    rows = [
        (DIFF, "diff", diff, told), (SIMILAR, "similar", {"one": names[0], "other": names[1], "pairs": 500}, {}),
        (CLUSTERS, "clusters", {"model": "someone/tiny-model", "reference": "mean"}, {}),
        (AUTO, "shift", SHIFT | {"remove": "auto"}, shift), (BENCH, "bench-autointerp", {"seed": 0}, bench),
        (SELFTEST, "selftest", {"steps": 10}, test), (PLAN, "plan-autointerp", plan, {}),
    ]  # fmt: skip
    begun = datetime.datetime(2026, 11, 22, 12, 0)
    return [_run(run, verb, config, told, begun, n) for n, (run, verb, config, told) in enumerate(rows)]


def _run(
    run: str, verb: str, config: dict[str, Any], told: dict[str, Any], begun: datetime.datetime, n: int
) -> dict[str, Any]:
    return {
        "run": run, "verb": verb, "config": config, "recipe": digest(verb, n), "seed": 0, "version": "0.1.0",
        "packages": {}, "status": "done", "started": begun + datetime.timedelta(minutes=n),
        "finished": begun + datetime.timedelta(minutes=n + 1), "error": None, "pid": 2**22 + 8, "host": "elsewhere",
        "summary": told | {"seconds": 60.0},
    }  # fmt: skip


def _copy(db: Any, circuit: str, shift: float) -> None:
    """The circuit once more with other effects, a third of its nodes gone."""
    db.execute(
        "insert into circuits by name select * replace (? as circuit, 'agreement_across' as task) from circuits "
        "where circuit = ?", [circuit, CIRCUIT],
    )  # fmt: skip
    db.execute(
        "insert into nodes by name select * replace (? as circuit, effect + ? * (position - 3) / 3 as effect) from nodes "
        "where circuit = ? and (kind = 'logit' or rank % 3 <> 1)", [circuit, shift, CIRCUIT],
    )  # fmt: skip
    db.execute(
        "insert into edges by name select * replace (? as circuit) from edges where circuit = ?", [circuit, CIRCUIT]
    )


def _differences(chance: random.Random) -> list[dict[str, Any]]:
    rows = []
    for n in range(60):
        name = f"resid_post:{5 if n % 2 else 10}/latent:{n}@{1 + n % 5}"
        name = name if n < 48 else f"{name} -> metric"
        left, right = chance.gauss(0, 1), chance.gauss(0, 1)
        status = STATUSES[n % 6]
        rows.append(
            {
                "run": DIFF, "left_circuit": CIRCUIT, "right_circuit": OTHER, "kind": "node" if n < 48 else "edge",
                "left_name": name, "right_name": name, "status": status,
                "left_rank": None if status in ("added", "outside") else n + 1,
                "right_rank": None if status in ("lost", "outside") else n + 2, "left_effect": left, "right_effect": right,
                "difference": right - left, "lower": right - left - 0.1, "upper": right - left + 0.2, "p": 0.001,
                "q": 0.9 if status == "same" else 0.001 + n / 10_000,
            }
        )  # fmt: skip
    return rows


def _matches(names: list[str], chance: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "run": SIMILAR, "dictionary": names[0], "latent": n, "other": names[1], "other_latent": LATENTS - 1 - n,
            "kind": kind, "cosine": chance.uniform(0.2, 0.99), "jaccard": chance.random() if n % 2 else None,
            "correlation": chance.uniform(-0.1, 1) if n % 2 else None,
            "explanation": chance.random() if n % 4 == 1 else None,
        }
        for kind, many in (("mutual", 120), ("exact", 150))
        for n in range(many)
    ]  # fmt: skip


def _findings(names: list[str]) -> list[dict[str, Any]]:
    common = {"run": SIMILAR, "verb": "similar", "about": f"{names[0]} {names[1]}", "against": "permuted decoder"}
    known = {
        "value": 0.56, "lower": 0.55, "upper": 0.57, "control": 0.15, "control_lower": 0.14, "control_upper": 0.16,
        "difference": 0.41, "difference_lower": 0.4, "difference_upper": 0.42,
    }  # fmt: skip
    return [
        common | known | {"measure": "cosine of mutual nearest neighbours", "trials": 120, "error": None, "details": {}},
        common | dict.fromkeys(known) | {"measure": "cosine of matched latents' labels", "trials": 0,
                                         "error": f"no labels {HOSTILE}", "details": {}},
    ]  # fmt: skip


def _clusters(chance: random.Random) -> list[dict[str, Any]]:
    rows = []
    for n in range(70):
        own = chance.uniform(0.4, 0.9)
        rows.append(
            {
                "recipe": RECIPE, "cluster": n, "run": CLUSTERS, "vectors": "effects", "size": 2 + n % 20, "documents": 2,
                "cohesion": own, "cohesion_lower": own - 0.1, "cohesion_upper": own + 0.05, "control": 0.5,
                "control_lower": 0.45, "control_upper": 0.55, "next_tokens": [[" of", 3], [HOSTILE, 1], [BIDI, 1]],
                "examples": [{"tokens": ["a", HOSTILE, f" wood{n}"], "next": " of"}],
                "circuit": {0: CIRCUIT, 1: OTHER}.get(n), "error": None if n < 2 else f"{n} contexts are too few {IMAGE}",
            }
        )  # fmt: skip
    return rows


def _latents(names: list[str], chance: random.Random) -> list[dict[str, Any]]:
    rows = []
    for n in range(8):
        effect, cue = chance.gauss(0, 1), chance.uniform(-1, 1)
        rows.append(
            {
                "run": AUTO, "node": f"resid_post:5/latent:{n}@1", "dictionary": names[0], "latent": n,
                "site": "resid_post:5", "rank": n + 1, "effect": effect, "lower": effect - 0.1, "upper": effect + 0.1,
                "verified": effect, "verified_lower": effect - 0.1, "verified_upper": effect + 0.1, "cue": cue,
                "cue_lower": max(-1, cue - 0.2), "cue_upper": min(1, cue + 0.2), "tokens": [" she", HOSTILE, BIDI],
                "removed": n < 3,
            }
        )  # fmt: skip
    return rows


def _shift_scores(run: str = AUTO) -> list[dict[str, Any]]:
    return [
        {
            "run": run, "classifier": name, "measure": measure, "value": 0.6 + n / 50, "lower": 0.5, "upper": 0.8,
            "control": 0.55, "trials": 64 if measure != "worst group" else 16, "removed": 3 if "SHIFT" in name else 0,
        }
        for n, name in enumerate(CLASSIFIERS)
        for measure in ("label", "cue", "worst group")
    ]  # fmt: skip


def by_a_person(more: More) -> None:
    """Adds the run of a choice that a person made, in the same setting."""
    begun = datetime.datetime(2026, 11, 22, 13, 0)
    config = SHIFT | {"remove": "resid_post:5/latent:1,resid_post:5/latent:4"}
    rows = [row | {"run": PERSON, "removed": row["latent"] in (1, 4)} for row in more.latents]
    with more.made.workspace.write() as db:
        append(db, "runs", [_run(PERSON, "shift", config, {"removed": 2}, begun, 99)])
        append(db, "shift_latents", rows)
        append(db, "shift_scores", _shift_scores(PERSON))


def _ground() -> list[dict[str, Any]]:
    truth = {"exact": 1.0, "broad": 0.7, "narrow": 0.6, "sibling": 0.1}
    rows = []
    for latent, kind in enumerate(("token", "set", "near_miss")):
        for method in ("executed", "embedding"):
            for place, rung in enumerate(RUNGS):
                f1 = truth.get(rung, 0.02)
                value = f1 if method == "executed" else 0.8 - place / 20 + (0.3 if rung == "narrow" else 0)
                failed = method == "embedding" and rung == "list" and latent == 2
                rows.append(
                    {
                        "run": BENCH, "method": method, "kind": kind, "latent": latent, "rung": rung,
                        "text": "" if rung == "empty" else f"rule {latent} {rung} {HOSTILE}", "precision": f1, "recall": f1,
                        "f1": f1, "extent": 1.0, "value": None if failed else value, "natural_auprc": 0.5, "yes": None,
                        "trials": 24, "error": f"not judged {IMAGE}" if failed else None,
                    }
                )  # fmt: skip
    return rows


def _explained() -> list[dict[str, Any]]:
    return [
        {
            "run": BENCH, "method": "rule", "kind": kind, "latent": latent, "text": None if latent == 2 else f"said {BIDI}",
            "error": f"no rule {HOSTILE}" if latent == 2 else None, "rule": None, "precision": 0.9, "recall": 0.9,
            "f1": None if latent == 2 else 0.95, "control": 0.1, "recognised": latent == 0,
        }
        for latent, kind in enumerate(("token", "set", "near_miss"))
    ]  # fmt: skip


def _bench() -> list[dict[str, Any]]:
    def one(
        task: str, site: str, method: str, metric: str, value: float, control: float | None, run: str
    ) -> dict[str, Any]:
        ends = {"lower": value - 0.1, "upper": value + 0.05} if run == BENCH else {"lower": None, "upper": None}
        row = {"task": task, "site": site, "method": method, "metric": metric, "value": value, "control": control}
        return row | ends | {"trials": 3, "run": run}

    rows = []
    for method, top in (("executed", 1.0), ("embedding", 0.8)):
        rows += [one("all", "planted", method, f"auroc {r}", top - n / 20, 0.5, BENCH) for n, r in enumerate(RUNGS)]
        tests = ("order", "halved is lower", "doubled is lower", "right - swapped", "spearman with true F1")
        values = (top, top, 1.0, 0.3, 0.6)
        rows += [one("all", "planted", method, m, v, None, BENCH) for m, v in zip(tests, values, strict=True)]
        rows += [one(kind, "planted", method, "auroc exact", top, 0.4, BENCH) for kind in ("token", "set")]
    rows += [
        one("all", "planted", "rule", m, 0.6, 0.0, BENCH) for m in ("rule found", "F1", "executable", "recognised")
    ]
    rows += [one("numbers", "functions", "search", "agreement", 0.9, 0.1, BENCH)]
    for method in ("exact", "attribution_patching"):
        value = 1.0 if method == "exact" else 0.4
        rows += [
            one("selftest hist", s, method, "nodes recall", value, 0.2, SELFTEST)
            for s in ("whole", "3 latents left out")
        ]
        rows += [one("selftest hist", "whole", method, "nodes precision", 1.0, 0.4, SELFTEST)]
    metrics = {"value": 0.8, "control": 0.45, "difference": 0.35, "recall": 0.7}
    rows += [one("planted features", f"judge {HOSTILE}", "embedding", m, v, 0.45, BENCH) for m, v in metrics.items()]
    return rows


def _plans() -> list[dict[str, Any]]:
    empty: dict[str, Any] = dict.fromkeys(
        ("work", "rate", "rate_lower", "rate_upper", "measured", "workers", "hours", "hours_lower", "hours_upper",
         "tokens_in", "tokens_in_lower", "tokens_in_upper", "tokens_out", "tokens_out_lower", "tokens_out_upper", "usd",
         "bytes", "failed", "failed_lower", "failed_upper", "missing")
    )  # fmt: skip
    common = empty | {"run": PLAN, "features": 1_000_000, "machines": 4, "runs": 0}
    measured = {"rate": 3.0, "rate_lower": 2.0, "rate_upper": 4.0, "measured": 400.0, "runs": 2, "workers": 2}
    hours = {"hours": 90.0, "hours_lower": 70.0, "hours_upper": 140.0}
    asked = {"tokens_in": 4e8, "tokens_in_lower": 3e8, "tokens_in_upper": 5e8, "tokens_out": 2e7, "tokens_out_lower": 1e7,
             "tokens_out_upper": 3e7, "usd": 72.0, "failed": 0.02, "failed_lower": 0.01, "failed_upper": 0.05}  # fmt: skip
    reading = {"stage": "harvest", "part": "reading", "unit": "tokens x latents", "bytes": 4e9, "usd": 10.0}
    return [
        common | measured | {"hours": 2.0, "hours_lower": 1.5, "hours_upper": 3.0} | reading,
        common | measured | hours | asked | {"stage": "explain", "part": f"llm:model={HOSTILE}", "unit": "features"},
        common | {"stage": "score", "part": "fuzzing", "unit": "explanations",
                  "missing": "lacewing score --scorers fuzzing"},
    ]  # fmt: skip


def _responses(chance: random.Random) -> list[dict[str, Any]]:
    states = ("ok", "ok", "ok", "parse_failed", "refused", "timed_out", "rate_limited", "failed", "stopped_by_budget")
    rows = []
    for n in range(90):
        state = states[n % len(states)]
        rows.append(
            {
                "digest": f"d{n:03d}", "run": "run000000003" if n % 2 else None, "url": "http://127.0.0.1:9/v1",
                "model": f"model {HOSTILE}" if n % 3 else "small", "state": state,
                "reason": None if state == "ok" else f"why {IMAGE}", "characters": 900, "tokens_in": 100 + n,
                "tokens_out": 10, "usd": 0.001 if n % 2 else None, "seconds": chance.uniform(0.1, 3.0),
                "attempts": 1 + n % 2, "finished": datetime.datetime(2026, 11, 22, 14, n % 60),
            }
        )  # fmt: skip
    return rows
