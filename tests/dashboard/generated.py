"""A synthetic workspace with one of everything a page can meet, consistent and hostile.

Runs that are done, failed, under way, killed and stopped; two dictionaries of 150 recorded features; token and
activation parts; a circuit of about 200 nodes and 800 edges with its evaluations; explanations and scores, some of
them errors, some scores without a control. Token texts hold markup, bidi marks and one of 100 kB.
"""

from __future__ import annotations

import datetime
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from data.store import Workspace, append
from data.words import Node, Site, digest

HOSTILE = "<script>document.title='owned'</script>"
IMAGE = "<img src=x onerror=document.title='owned'>"
BIDI = "\u202egnirts\u202c"
HUGE = "x" * 100_000
WORDS = [
    "the",
    "keys",
    "to",
    "cabinet",
    "are",
    "is",
    "on",
    "table",
    "near",
    "old",
    "boxes",
    "author",
    "of",
    "books",
    "writes",
    ",",
]
SITES = (Site(5), Site(10))
HARVEST = "aaaaharvest00001"
CIRCUIT = "c1rcu1t000000001"
LATENTS = 150
POSITIONS = ("prefix", "determiner", "subject", "preposition", "article", "attractor")
DOCUMENTS = 24
LENGTH = 40


@dataclass(frozen=True)
class Made:
    """What a test may want to name."""

    workspace: Workspace
    dictionaries: dict[str, str]
    circuit: str
    harvest: str


def make(folder: Path, seed: int = 0) -> Made:
    """Writes the workspace into `folder`."""
    chance = random.Random(seed)
    workspace = Workspace.open(folder, create=True)
    dictionaries = {str(site): digest("dictionary", str(site)) for site in SITES}
    with workspace.write() as db:
        append(db, "runs", _runs(workspace))
        append(db, "dictionaries", _dictionaries(dictionaries))
        for table, records in _harvested(workspace, dictionaries, chance).items():
            append(db, table, records)
        nodes = _nodes(dictionaries, chance)
        append(db, "circuits", [_circuit(dictionaries)])
        append(db, "nodes", nodes)
        append(db, "edges", _edges(nodes, chance))
        append(db, "evaluations", _evaluations())
        explanations = _explanations(nodes)
        append(db, "explanations", explanations)
        append(db, "scores", _scores(explanations, chance))
    return Made(workspace, dictionaries, CIRCUIT, HARVEST)


def _runs(workspace: Workspace) -> list[dict[str, Any]]:
    begun = datetime.datetime(2026, 11, 22, 9, 0)
    rows = []
    states = [
        ("train", "done", None), ("harvest", "done", None), ("circuit", "done", None), ("explain", "done", None),
        ("score", "failed", f"Mistake: the endpoint answered {HOSTILE}"), ("train", "running", None),
        ("harvest", "stopped", "interrupted"),
    ]  # fmt: skip
    for number, (verb, status, error) in enumerate(states):
        rows.append(
            {
                "run": f"run{number:09d}", "verb": verb, "config": {"seed": 0, "model": "someone/tiny-model"},
                "recipe": digest(verb, number), "seed": 0, "version": "0.1.0", "packages": {"torch": "2.13"},
                "status": status, "started": begun + datetime.timedelta(minutes=7 * number),
                "finished": None if status == "running" else begun + datetime.timedelta(minutes=7 * number + 5),
                "error": error, "pid": 2**22 + 7, "host": _host(),
                "summary": None if status == "running" else {"seconds": 300.0, "peak_memory": 2_400_000_000},
            }
        )  # fmt: skip
    killed = workspace.folder / "metrics" / "run000000005"
    killed.mkdir(parents=True)
    beat = {"phase": "training", "done": 40_960, "total": 200_000, "seconds": 61.0, "time": time.time() - 3_000}
    (killed / "heartbeat.json").write_text(pa_json(beat))
    return rows


def pa_json(value: Any) -> str:
    import json

    return json.dumps(value)


def _host() -> str:
    import socket

    return socket.gethostname()


def _dictionaries(names: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for site in SITES:
        metrics = {
            "l0": 31.8, "dead": 0.06, "explained_variance": 0.83, "explained_variance_lower": 0.82,
            "explained_variance_upper": 0.84, "ce_recovered": 0.93, "ce_recovered_lower": 0.92, "ce_recovered_upper": 0.94,
            "pca_explained_variance": 0.71, "pca_ce_recovered": 0.55, "pca_components": 32,
        }  # fmt: skip
        rows.append(
            {
                "dictionary": names[str(site)], "name": f"batchtopk-{site}", "model": "tiny", "site": str(site),
                "layer": site.layer, "architecture": "batchtopk", "latents": 4096, "run": "run000000000",
                "metrics": metrics,
            }
        )  # fmt: skip
    return rows


def _harvested(workspace: Workspace, names: dict[str, str], chance: random.Random) -> dict[str, list[dict[str, Any]]]:
    texts = [_text(number, chance) for number in range(DOCUMENTS)]
    tokens = pa.table(
        {
            "document": pa.array(range(DOCUMENTS), pa.int32()),
            "half": ["explain" if number % 2 == 0 else "score" for number in range(DOCUMENTS)],
            "ids": pa.array(
                [[100 * d + p for p in range(len(text))] for d, text in enumerate(texts)], pa.list_(pa.int32())
            ),
            "text": pa.array(texts, pa.list_(pa.string())),
        }
    )
    workspace.write_part(f"tokens/{HARVEST}/part-000.parquet", tokens)
    features, harvests = [], []
    for site, dictionary in names.items():
        firings = _firings(chance)
        columns = zip(*firings, strict=True)
        kinds = {"latent": pa.int32(), "document": pa.int32(), "position": pa.int32(), "value": pa.float32()}
        table = pa.table({k: pa.array(c, t) for (k, t), c in zip(kinds.items(), columns, strict=True)})
        workspace.write_part(f"activations/{dictionary}/part-{HARVEST}-000.parquet", table)
        features += [_feature(dictionary, site, latent, firings) for latent in range(LATENTS)]
        harvests.append(
            {
                "harvest": HARVEST, "dictionary": dictionary, "model": "tiny", "documents": DOCUMENTS,
                "tokens": DOCUMENTS * LENGTH, "run": "run000000001",
            }
        )  # fmt: skip
    return {"features": features, "harvests": harvests}


def _text(number: int, chance: random.Random) -> list[str]:
    text = [" " + chance.choice(WORDS) for _ in range(LENGTH)]
    hostile = {0: HOSTILE, 1: IMAGE, 2: BIDI, 4: HUGE, 6: "\n", 8: "\u200b", 10: "&amp;\x00"}
    if number in hostile:
        text[7] = hostile[number]
    return text


def _firings(chance: random.Random) -> list[tuple[int, int, int, float]]:
    """Sorted (latent, document, position, value): latent 0 fires on the hostile tokens, every tenth latent never."""
    found = []
    for latent in range(LATENTS):
        if latent % 10 == 9:
            continue
        for document in range(DOCUMENTS):
            places = {7} if latent == 0 else set()
            places |= {p for p in range(1, LENGTH) if chance.random() < (0.4 if latent == 5 else 0.04)}
            found += [(latent, document, p, round(chance.lognormvariate(0, 1), 4)) for p in sorted(places)]
    return found


def _feature(dictionary: str, site: str, latent: int, firings: list[tuple[int, int, int, float]]) -> dict[str, Any]:
    values = sorted(value for number, _, _, value in firings if number == latent)
    top = values[-1] if values else 0.0
    bins = 12
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int(bins * value / top))] += 1
    statistics = {
        "firings": len(values), "documents": len({d for number, d, _, _ in firings if number == latent}),
        "quantiles": {q: values[int(float(q) * (len(values) - 1))] for q in ("0.5", "0.9", "0.99")} if values else {},
        "histogram": {"edges": [top * i / bins for i in range(bins + 1)], "counts": counts} if values else None,
        "lift": [[" keys", 3.1, 12], [HOSTILE, 2.2, 5], [" are", 1.4, 9]],
        "top_logits": [[" are", 1.31], [" were", 1.12], [HOSTILE, 0.9], [" have", 0.6]],
        "bottom_logits": [[" is", -1.4], [" was", -1.0], [" has", -0.7]], "harvest": HARVEST,
    }  # fmt: skip
    density = len(values) / (DOCUMENTS * LENGTH)
    return {
        "dictionary": dictionary, "latent": latent, "density": density, "max_activation": top, "statistics": statistics,
    }  # fmt: skip


def _circuit(names: dict[str, str]) -> dict[str, Any]:
    tokens = ["<|endoftext|>", "The", " keys", " to", " the", HOSTILE]
    by_site = {site: {"pearson": 0.97 - 0.01 * i, "nodes": 60} for i, site in enumerate(names)}
    return {
        "circuit": CIRCUIT, "run": "run000000002", "task": "agreement", "method": "integrated_gradients",
        "metric": "logit_difference", "ablation": "counterfactual", "model": "tiny", "dictionaries": names, "pairs": 64,
        "prompt": {"tokens": tokens, "roles": list(POSITIONS), "text": "The keys to the cabinet",
                   "counter_text": "The key to the cabinet", "answer": " are", "counter_answer": " is"},
        "selfcheck": {"logits": 2.1e-5, "gradients": dict.fromkeys(names, 3.0e-6), "passed": True},
        "calibration": {"pearson": 0.96, "pearson_lower": 0.94, "pearson_upper": 0.975, "sign_errors": 0.02, "nodes": 60,
                        "by_site": by_site},
        "summary": {"total_effect": 4.62, "completeness_gap": dict.fromkeys(names, 0.03)},
    }  # fmt: skip


def _nodes(names: dict[str, str], chance: random.Random) -> list[dict[str, Any]]:
    places = []
    for site in SITES:
        for position in range(1, len(POSITIONS)):
            places.append((Node(site, "error", None, position), 0.12))
            places += [(Node(site, "latent", latent, position), 1.0) for latent in range(19)]
    scored = [(node, chance.gauss(0, 0.3) * weight * math.exp(-0.3 * (node.latent or 0))) for node, weight in places]
    scored.sort(key=lambda pair: -abs(pair[1]))
    rows = [_node(node, effect, names, rank) for rank, (node, effect) in enumerate(scored, start=1)]
    metric = Node(None, "logit", None, len(POSITIONS) - 1)
    return [_node(metric, 4.62, names, 0), *rows]


def _node(node: Node, effect: float, names: dict[str, str], rank: int) -> dict[str, Any]:
    verified = rank < 60
    return {
        "circuit": CIRCUIT, "node": str(node), "site": str(node.site) if node.site else None,
        "layer": node.site.layer if node.site else 12, "kind": node.kind,
        "dictionary": names[str(node.site)] if node.kind == "latent" else None, "latent": node.latent,
        "position": node.position, "role": POSITIONS[node.position], "effect": effect, "lower": effect - 0.05,
        "upper": effect + 0.05, "verified": effect * 1.04 + 0.004 if verified else None,
        "verified_lower": effect - 0.04 if verified else None, "verified_upper": effect + 0.06 if verified else None,
        "rank": rank,
    }  # fmt: skip


def _edges(nodes: list[dict[str, Any]], chance: random.Random) -> list[dict[str, Any]]:
    logit = nodes[0]["node"]
    lower = [row for row in nodes if row["site"] == str(SITES[0])]
    upper = [row for row in nodes if row["site"] == str(SITES[1])]
    chosen = [(source, target) for source in lower for target in upper if source["position"] <= target["position"]]
    pairs = [(s["node"], t["node"]) for s, t in chance.sample(chosen, 700)] + [(u["node"], logit) for u in upper]
    rows = []
    for number, (source, target) in enumerate(pairs):
        effect = chance.gauss(0, 0.1)
        rows.append(
            {
                "circuit": CIRCUIT, "source": source, "target": target, "effect": effect, "lower": effect - 0.02,
                "upper": effect + 0.02, "verified": effect if number % 40 == 0 else None,
            }
        )  # fmt: skip
    return rows


def _evaluations() -> list[dict[str, Any]]:
    rows = []
    for size in (5, 10, 20, 50, 100, 200):
        for kind in ("faithfulness", "completeness"):
            kept = 1 - math.exp(-size / 60)
            value = kept if kind == "faithfulness" else 1 - 0.9 * kept
            rows.append(
                {
                    "circuit": CIRCUIT, "kind": kind, "mask": "nodes", "ablation": "counterfactual", "size": size,
                    "value": value, "lower": value - 0.06, "upper": value + 0.05,
                    "control": 0.02 if kind == "faithfulness" else 0.99, "control_lower": 0.0, "control_upper": 1.0 / 20,
                }
            )  # fmt: skip
    return rows


def _explanations(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = sorted({(row["dictionary"], row["latent"]) for row in nodes if row["kind"] == "latent"})
    rows = []
    for number, (dictionary, latent) in enumerate(wanted):
        failed = number % 7 == 3
        text = (
            f"plural nouns before a preposition {BIDI} {IMAGE}"
            if number % 5 == 0
            else f"forms of the word no. {number}"
        )
        rows.append(
            {
                "explanation": digest("e", dictionary, latent), "dictionary": dictionary, "latent": latent,
                "explainer": "lift", "text": None if failed else text, "error": "no token has lift" if failed else None,
                "run": "run000000003", "details": {"candidates": ["a", "b"]},
            }
        )  # fmt: skip
    return rows


def _scores(explanations: list[dict[str, Any]], chance: random.Random) -> list[dict[str, Any]]:
    rows = []
    for number, row in enumerate(e for e in explanations if e["text"]):
        value = chance.uniform(0.45, 0.95)
        windows = [
            {
                "document": 1 + 2 * w,
                "start": 0,
                "length": 32,
                "truth": w < 3,
                "judgement": 0.5 - 0.1 * (w % 4),
                "control": 0.2,
            }
            for w in range(6)
        ]
        for scorer in ("embedding", "surprisal"):
            bare = scorer == "surprisal" and number % 3 == 0
            broken = scorer == "surprisal" and number % 11 == 5
            rows.append(_score(row["explanation"], scorer, None if broken else value, bare, windows))
    return rows


def _score(explanation: str, scorer: str, value: float | None, bare: bool, windows: list[Any]) -> dict[str, Any]:
    controlled = value is not None and not bare
    difference = value - 0.51 if controlled and value is not None else None
    return {
        "explanation": explanation, "scorer": scorer, "value": value,
        "lower": None if value is None else value - 0.07, "upper": None if value is None else value + 0.05,
        "control": 0.51 if controlled else None, "control_lower": 0.44 if controlled else None,
        "control_upper": 0.58 if controlled else None, "difference": difference,
        "difference_lower": None if difference is None else difference - 0.09,
        "difference_upper": None if difference is None else difference + 0.09, "trials": 0 if value is None else 40,
        "error": "only one document holds the feature" if value is None else None, "run": "run000000003",
        "details": {"windows": windows},
    }  # fmt: skip
