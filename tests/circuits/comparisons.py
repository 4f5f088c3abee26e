"""Circuits and columns of effects to be compared, made for the tests of `lacewing diff`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch

from circuits.columns import Columns, Side, shared_sites
from circuits.diff import sides
from circuits.edges import Edges
from circuits.effects import Effects
from circuits.stored import Stored
from data.store import Workspace, append
from data.words import Node, Site

NONE = torch.zeros(2, 0, dtype=torch.long)


def realistic(examples: int, columns: int, seed: int) -> torch.Tensor:
    """Effects such as circuits have: a few in every example and skewed, many rare and heavy, all sharing what makes one
    prompt stronger than another."""
    g = torch.Generator().manual_seed(seed)
    prompt = (0.5 * torch.randn(examples, 1, generator=g)).exp()
    fires = torch.rand(examples, columns, generator=g) < torch.linspace(1, 0.1, columns)
    sign = torch.randint(2, (columns,), generator=g) * 2.0 - 1
    return prompt * sign * fires * torch.randn(examples, columns, generator=g).exp()


def columns_of(left: torch.Tensor, right: torch.Tensor) -> Columns:
    return Columns(tuple((Node(Site(0), "latent", i, 0),) for i in range(left.shape[1])), left, right)


def halves(whole: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    return whole[order[: len(whole) // 2]], whole[order[len(whole) // 2 :]]


def stored(dense: torch.Tensor, nodes: Sequence[Node], kept: int, edges: Edges | None = None, **row: Any) -> Stored:
    """A circuit of the first `kept` nodes, with the columns of `dense` as effects."""
    example, node = dense.nonzero(as_tuple=True)
    effects = Effects(example, node, dense[example, node], tuple(nodes), len(dense))
    sites = dict.fromkeys(str(n.site) for n in nodes)
    whole = {
        "circuit": "a", "metric": "logit_difference", "model": "m", "method": "exact", "ablation": "zero",
        "dictionaries": {s: f"d-{s}" for s in sites}, "prompt": {"roles": ["one", "two"]}, "summary": {"edge_nodes": 99},
    } | row  # fmt: skip
    none = torch.zeros(0, dtype=torch.long)
    edges = edges or Edges(none, none, torch.zeros(len(dense), 0))
    prompts = tuple((f"{whole['circuit']} {i}", "") for i in range(len(dense)))
    return Stored(whole, tuple(nodes[:kept]), effects, edges, prompts, dense.sum(1))


def latents(count: int, layer: int = 0, position: int = 0) -> list[Node]:
    return [Node(Site(layer), "latent", i, position) for i in range(count)]


def plain(left: Stored, right: Stored, matchings: Mapping[Site, Any] | None = None) -> tuple[Side, Side]:
    return sides(left, right, shared_sites(left, right), matchings or {})


def write_circuit(workspace: Workspace, circuit: str, dense: torch.Tensor, kept: int, **row: Any) -> None:
    """Rows and parts of a circuit with latents at one site, each joined to the metric."""
    names = [str(node) for node in latents(dense.shape[1])]
    example, node = dense.nonzero(as_tuple=True)
    table = {
        "example": example.tolist(),
        "node": [names[i] for i in node.tolist()],
        "effect": dense[example, node].tolist(),
    }
    inside = [i for i, one in enumerate(node.tolist()) if one < kept]
    edges = {
        "example": [table["example"][i] for i in inside], "source": [table["node"][i] for i in inside],
        "target": ["logit@0"] * len(inside), "effect": [table["effect"][i] for i in inside],
    }  # fmt: skip
    examples = {
        "example": list(range(len(dense))), "text": [f"{circuit} {i}" for i in range(len(dense))],
        "counter_text": [""] * len(dense), "metric": dense.sum(1).tolist(), "counter_metric": [0.0] * len(dense),
    }  # fmt: skip
    for part, held in (("nodes", table), ("edges", edges), ("examples", examples)):
        workspace.write_part(f"effects/{circuit}/part-{part}.parquet", pa.table(held))
    record = {
        "circuit": circuit, "run": "r", "task": "t", "method": "exact", "metric": "logit_difference", "ablation": "zero",
        "model": "m", "dictionaries": {"resid_post:0": "d"}, "pairs": len(dense),
        "prompt": {"roles": ["last"], "tokens": ["word"]}, "selfcheck": {}, "calibration": {},
        "summary": {"edge_nodes": kept},
    } | row  # fmt: skip
    nodes = [
        {"circuit": circuit, "node": name, "site": "resid_post:0", "layer": 0, "kind": "latent", "dictionary": "d",
         "latent": i, "position": 0, "role": "last", "effect": 1.0, "lower": 0.0, "upper": 2.0, "rank": i + 1}
        for i, name in enumerate(names[:kept])
    ]  # fmt: skip
    with workspace.write() as db:
        append(db, "circuits", [record])
        append(db, "nodes", nodes)
