"""The circuits of a big workspace (`big.py`): one large, several small, with their edges, paths and curves."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from data.store import Workspace, append
from data.words import Node, Site, digest

if TYPE_CHECKING:
    from big import Sizes

LARGE = "large0000circuit"
TASKS = ("agreement", "induction", "capital_of", "greater_than")
TEXT = "The keys to the old cabinets that the author of the books keeps near the table on the left of the door"
TOTAL = 5.0
"""The effect of a whole circuit on its metric."""


def write(workspace: Workspace, names: Mapping[str, str], sizes: Sizes, model: str) -> None:
    """Writes all circuits over the dictionaries `names` (by site)."""
    _write(workspace, LARGE, names, sizes, 0, model)
    for number in range(1, sizes.circuits + 1):
        few = dict(list(names.items())[number % 7 :: max(1, len(names) // 5)]) or dict(names)
        small = type(sizes)(latents=sizes.latents, nodes=80, edges=320, seed=sizes.seed)
        _write(workspace, digest("small circuit", number), few, small, number, model)


def _write(workspace: Workspace, circuit: str, names: Mapping[str, str], sizes: Sizes, number: int, model: str) -> None:
    rng = np.random.default_rng([sizes.seed, 4, number])
    tokens = ["<|endoftext|>", *(" " + word for word in TEXT.split()[: None if number == 0 else 6])]
    nodes = _nodes(rng, names, sizes, len(tokens))
    rows = [{"circuit": circuit, "role": f"token {node.position}"} | row for node, row in nodes]
    edges = _edges(rng, [node for node, _ in nodes], sizes.edges)
    with workspace.write() as db:
        append(db, "runs", [_run(number, model)])
        append(db, "circuits", [_circuit(circuit, names, tokens, number, model)])
        append(db, "nodes", rows)
        append(db, "edges", [{"circuit": circuit} | edge for edge in edges])
        append(db, "evaluations", _evaluations(circuit, len(nodes) - 1))
        append(db, "paths", _paths(circuit, edges, tokens))


def _run(number: int, model: str) -> dict[str, Any]:
    begun = datetime.datetime(2026, 11, 21, 9, number)
    return {
        "run": f"circuitrun{number:02d}", "verb": "circuit", "config": {"seed": number, "model": "someone/large-model"},
        "recipe": digest("circuit", model, number), "seed": number, "version": "0.1.0", "packages": {}, "status": "done",
        "started": begun, "finished": begun, "pid": 1, "host": "big",
    }  # fmt: skip


def _circuit(circuit: str, names: Mapping[str, str], tokens: Sequence[str], number: int, model: str) -> dict[str, Any]:
    by_site = {site: {"pearson": 0.95, "nodes": 40} for site in names}
    return {
        "circuit": circuit, "run": f"circuitrun{number:02d}", "task": TASKS[number % len(TASKS)],
        "method": "integrated_gradients", "metric": "logit_difference", "ablation": "counterfactual", "model": model,
        "dictionaries": dict(names), "pairs": 64,
        "prompt": {"tokens": list(tokens), "roles": [f"token {n}" for n in range(len(tokens))], "text": "".join(tokens[1:]),
                   "counter_text": "".join(tokens[1:]).replace("keys", "key"), "answer": " are", "counter_answer": " is"},
        "selfcheck": {"logits": 1e-5, "gradients": dict.fromkeys(names, 2e-6), "passed": True},
        "calibration": {"pearson": 0.95, "pearson_lower": 0.93, "pearson_upper": 0.97, "sign_errors": 0.02, "nodes": 40,
                        "by_site": by_site},
        "summary": {"total_effect": TOTAL, "completeness_gap": dict.fromkeys(names, 0.04)},
    }  # fmt: skip


def _nodes(
    rng: np.random.Generator, names: Mapping[str, str], sizes: Sizes, tokens: int
) -> list[tuple[Node, dict[str, Any]]]:
    """The metric's own node, then the others by the size of their effect."""
    sites = [Site.parse(name) for name in names]
    places = {Node(site, "error", None, p) for site in sites for p in range(1, tokens)}
    places = set(sorted(places, key=str)[: sizes.nodes // 8])
    while len(places) < sizes.nodes:
        drawn = zip(
            rng.integers(0, len(sites), sizes.nodes).tolist(),
            (rng.power(0.35, sizes.nodes) * sizes.latents).astype(int).tolist(),
            (1 + (rng.power(2.0, sizes.nodes) * (tokens - 1)).astype(int)).tolist(),
            strict=True,
        )
        found = (Node(sites[site], "latent", latent, position) for site, latent, position in drawn)
        places.update(node for node, _ in zip(found, range(sizes.nodes - len(places)), strict=False))
    ordered = sorted(places, key=str)
    effects = rng.normal(0, 1, len(ordered)) * rng.power(0.2, len(ordered))
    order = np.argsort(-np.abs(effects)).tolist()
    scale = TOTAL / max(float(np.abs(effects).sum()), 1e-9)
    metric = Node(None, "logit", None, tokens - 1)
    ranked = [(ordered[i], float(effects[i]) * scale, rank) for rank, i in enumerate(order, start=1)]
    deepest = max(site.layer for site in sites) + 1
    return [(node, _node(node, effect, names, rank, deepest)) for node, effect, rank in [(metric, TOTAL, 0), *ranked]]


def _node(node: Node, effect: float, names: Mapping[str, str], rank: int, deepest: int) -> dict[str, Any]:
    verified = effect * 1.03 if rank <= 200 else None
    half = abs(effect) * 0.3 + 1e-4
    return {
        "node": str(node), "site": str(node.site) if node.site else None,
        "layer": node.site.layer if node.site else deepest, "kind": node.kind,
        "dictionary": names[str(node.site)] if node.kind == "latent" else None, "latent": node.latent,
        "position": node.position, "effect": effect, "lower": effect - half, "upper": effect + half, "verified": verified,
        "verified_lower": None if verified is None else verified - half,
        "verified_upper": None if verified is None else verified + half, "rank": rank, "inclusion": 1 / (1 + rank / 5000),
    }  # fmt: skip


def _edges(rng: np.random.Generator, nodes: Sequence[Node], count: int) -> list[dict[str, Any]]:
    """Edges forwards in depth and position, between important nodes more often, one in twelve into the metric."""
    deep = np.array([(1 << 30) if n.site is None else 100 * n.site.layer + n.site.depth[1] for n in nodes])
    position = np.array([n.position for n in nodes])
    pairs: dict[tuple[int, int], None] = dict.fromkeys((n, 0) for n in range(1, 1 + min(count // 12, len(nodes) - 1)))
    for _ in range(50):
        a, b = 1 + (rng.power(0.6, (2, 4 * count)) * (len(nodes) - 1)).astype(int)
        right = (deep[a] < deep[b]) & (position[a] <= position[b])
        pairs |= dict.fromkeys(zip(a[right].tolist(), b[right].tolist(), strict=True))
        if len(pairs) >= count:
            break
    chosen = list(pairs)[:count]
    effects = (rng.normal(0, 1, len(chosen)) * rng.power(0.3, len(chosen)) * 0.02).tolist()
    return [
        {
            "source": str(nodes[a]), "target": str(nodes[b]), "effect": effect, "lower": effect - 0.002,
            "upper": effect + 0.002, "verified": effect if n % 50 == 0 else None, "inclusion": 0.9,
        }
        for n, ((a, b), effect) in enumerate(zip(chosen, effects, strict=True))
    ]  # fmt: skip


def _evaluations(circuit: str, nodes: int) -> list[dict[str, Any]]:
    sizes = sorted({min(nodes, size) for size in (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, nodes)})
    rows = []
    for size in sizes:
        kept = 1 - math.exp(-4 * size / nodes)
        for kind, value, control in (("faithfulness", kept, kept / 9), ("completeness", 1 - 0.95 * kept, 1 - kept / 9)):
            rows.append(
                {
                    "circuit": circuit, "kind": kind, "mask": "nodes", "ablation": "counterfactual", "size": size,
                    "value": value, "lower": value - 0.05, "upper": value + 0.05, "control": control,
                    "control_lower": control - 0.02, "control_upper": control + 0.02,
                }
            )  # fmt: skip
    return rows


def _paths(circuit: str, edges: Sequence[Mapping[str, Any]], tokens: Sequence[str]) -> list[dict[str, Any]]:
    """Two steps into the metric."""
    last = {edge["source"]: edge["effect"] for edge in edges if edge["target"].startswith("logit")}
    rows = []
    for edge in edges:
        if edge["target"] in last and len(rows) < 30:
            weight = edge["effect"] * 0.5 + last[edge["target"]] * 0.5
            source = Node.parse(edge["source"])
            rows.append(
                {
                    "circuit": circuit, "rank": len(rows) + 1, "token": tokens[source.position],
                    "nodes": [edge["source"], edge["target"]], "weight": weight, "lower": weight - 0.01,
                    "upper": weight + 0.01, "share": weight / TOTAL, "share_lower": None, "share_upper": None,
                }
            )  # fmt: skip
    return rows
