"""How much of the behaviour a circuit of edges recovers, on held-out pairs, against random edges between its nodes.

1. The circuit of a size is the strongest edges between the kept nodes, each node computed from its own parents alone
   (`circuits.edge_masks`); what is left without it is the whole model but for those edges.
2. The control draws as many edges for each pair of sites (and from each site to the metric), at random from those that the
   same nodes could have: it asks whether the edges were well chosen, where that of the node curve asks it of the nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.curves import KINDS, Evaluation, point
from circuits.edge_masks import EdgeMask, ablated_edges, possible
from circuits.methods import silent
from circuits.problem import Problem
from data.progress import Report


def edge_curve(
    problem: Problem, ranked: EdgeMask, *, at: Sequence[int], draws: int, seed: int, report: Report | None = None
) -> list[Evaluation]:
    """Faithfulness and completeness of the first edges of `ranked`, at each size of `at`."""
    pool = possible(problem, ranked.nodes)
    points: list[Evaluation] = []
    for number, size in enumerate(at):
        chosen = ranked.take(torch.arange(size))
        random = [random_edges(problem, chosen, pool, seed=seed * 1000 + draw) for draw in range(draws)]
        for kind in KINDS:
            gained, *drawn = [recovered_edges(problem, mask, kind) for mask in (chosen, *random)]
            points.append(
                point(kind, size, gained, drawn, mask="edges", ablation=problem.reference_name, seed=seed)
            )  # fmt: skip
        (report or silent)(number + 1, len(at))
    return points


def recovered_edges(problem: Problem, mask: EdgeMask, kind: str = "faithfulness") -> Float[Tensor, "batch two"]:
    """Per pair, what the edges (or the model without them) recover, and the total they could."""
    gained = ablated_edges(problem, mask, without=kind == "completeness") - problem.none_metric
    return torch.stack([gained, problem.clean_metric - problem.none_metric], dim=1)


def random_edges(problem: Problem, like: EdgeMask, pool: EdgeMask, *, seed: int) -> EdgeMask:
    """As many edges for each pair of sites as `like` has, at random from `pool`."""
    generator = torch.Generator().manual_seed(seed)
    kinds, theirs = _pairs_of_sites(problem, like), _pairs_of_sites(problem, pool)
    chosen = [torch.zeros(0, dtype=torch.long)]
    for pair, count in zip(*kinds.unique(return_counts=True), strict=True):
        here = (theirs == pair).nonzero()[:, 0]
        chosen.append(here[torch.randperm(len(here), generator=generator)[: int(count)]])
    return pool.take(torch.cat(chosen))


def _pairs_of_sites(problem: Problem, mask: EdgeMask) -> Int[Tensor, " edges"]:
    """A number for the sites that each edge joins."""
    number = {site: i for i, site in enumerate(problem.sites)}
    sites = torch.tensor([*(number[n.site] for n in mask.nodes if n.site), len(number)])
    return sites[mask.source] * (len(number) + 1) + sites[mask.target]
