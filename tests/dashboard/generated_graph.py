"""A workspace with a circuit of any size beside the synthetic one, and rows of nodes and edges without a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import big
import big_circuits
import numpy as np
import pyarrow as pa
from generated import Made, make

from data.queries.of_graph import Edges, Graph
from data.words import Node, Site

LARGE = big_circuits.LARGE


def with_large(folder: Path, nodes: int, edges: int) -> Made:
    """The generated workspace with one more circuit, `LARGE`."""
    made = make(folder)
    sizes = big.Sizes(features=6 * 16_384, nodes=nodes, edges=edges, circuits=0)
    big_circuits.write(made.workspace, big.dictionaries(sizes), sizes, "tiny")
    return made


def node_rows(count: int, sites: int = 6, positions: int = 12, seed: int = 0) -> list[dict[str, Any]]:
    """So many latents, errors among them, by rank, and before them the metric's own node."""
    rng = np.random.default_rng(seed)
    rows = [_row(Node(None, "logit", None, positions - 1), 4.0, 0)]
    for rank in range(1, count + 1):
        site, position = Site(rank % sites), int(rng.integers(positions))
        kind = "error" if rank % 97 == 0 else "latent"
        effect = float(rng.normal()) / rank
        rows.append(_row(Node(site, kind, rank if kind == "latent" else None, position), effect, rank))
    return rows


def _row(node: Node, effect: float, rank: int) -> dict[str, Any]:
    text = f"words of kind {rank} near a preposition or an article" if rank % 3 == 0 and node.kind == "latent" else None
    return {
        "node": str(node), "site": str(node.site) if node.site else None, "kind": node.kind, "latent": node.latent,
        "dictionary": f"d{node.site}" if node.kind == "latent" else None, "position": node.position, "text": text,
        "role": f"token {node.position}", "effect": effect, "lower": effect - 0.1, "upper": effect + 0.1,
        "verified": effect * 1.1 if rank % 5 == 0 else None, "rank": rank, "density": 0.01 * (rank % 20),
    }  # fmt: skip


def graph_of(nodes: list[dict[str, Any]], pairs: list[tuple[str, str, float]]) -> Graph:
    """A graph of these nodes and edges (source, target, effect)."""
    ordered = sorted(pairs, key=lambda pair: -abs(pair[2]))
    columns = dict(zip(("source", "target", "effect"), zip(*ordered, strict=True), strict=True))
    numbers = {row["node"]: n for n, row in enumerate(nodes)}
    return Graph("c", "s", nodes, Edges(pa.table({k: pa.array(v) for k, v in columns.items()}), numbers), numbers)


def random_pairs(nodes: list[dict[str, Any]], count: int, seed: int = 0) -> list[tuple[str, str, float]]:
    """Different edges between `nodes` drawn by lot."""
    rng = np.random.default_rng(seed)
    ends = {(int(a), int(b)) for a, b in rng.integers(0, len(nodes), (count, 2)) if a != b}
    return [(nodes[a]["node"], nodes[b]["node"], float(rng.normal())) for a, b in sorted(ends)]
