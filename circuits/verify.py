"""Verification by intervention: the exact effect of chosen nodes.

1. `exact_effects` gives one node at a time its reference value, on every example in which it differs, and lets the
   rest of the bare model react: effect = metric before minus metric after (activation patching). Examples of many nodes of
   a site share a batch, and a pass begins at the site, so that nothing is computed that the patch cannot change.
2. `reranked` puts the verified nodes in the order of their exact effects, wherever the estimate had put them.

Exact effects of edges are in `circuits.exact_edges`; how well estimates agree with either, in `circuits.calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.edges import Layer
from circuits.effects import Effects
from circuits.methods import silent
from circuits.patches import changes, moved
from circuits.problem import Problem
from data.progress import Report
from data.words import Node, Site


@torch.no_grad()
def exact_effects(problem: Problem, nodes: Sequence[Node], report: Report | None = None) -> Effects:
    """The exact effect of each of `nodes` on each example, by patching it to its reference value at all its positions."""
    layers = [layer for site in problem.sites if len(layer := Layer.of(site, nodes))]
    jobs = [moved(problem, layer).T.nonzero() for layer in layers]
    total, done = sum(map(len, jobs)), 0
    columns = [(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), torch.zeros(0))]
    for layer, job in zip(layers, jobs, strict=True):
        before = metric_from(problem, layer.site)
        for which, rows in problem.pieces(job[:, 0], job[:, 1]):
            x = problem.states[layer.site].x[rows] - changes(problem, layer, rows, which)
            after = problem.score(layer.site, x, rows)
            columns.append((rows, layer.number[which], before[rows] - after))
            done += len(rows)
            (report or silent)(done, total)
    example, node, effect = (torch.cat(parts) for parts in zip(*columns, strict=True))
    return Effects(example, node, effect, tuple(nodes), len(problem))


@torch.no_grad()
def metric_from(problem: Problem, site: Site) -> Float[Tensor, " batch"]:
    """The clean metric by passes that begin at `site`: what a patch there is compared with, rounding and all."""
    return torch.cat([problem.score(site, problem.states[site].x[r], r) for r in problem.chunks()])


@torch.no_grad()
def site_totals(problem: Problem) -> dict[Site, float]:
    """The mean exact effect of all nodes of each site together."""
    totals: dict[Site, float] = {}
    for site in problem.sites:
        patched = problem.states[site].x_patch
        after = torch.cat([problem.score(site, patched[rows], rows) for rows in problem.chunks()])
        totals[site] = float((problem.clean_metric - after).mean())
    return totals


def reranked(effects: Effects, exact: Effects) -> Int[Tensor, " nodes"]:
    """All node numbers, most important first: where the estimate's order has verified nodes, they stand by falling exact
    size; all others keep their places."""
    number = {node: i for i, node in enumerate(effects.nodes)}
    order = effects.ranking()
    verified = torch.tensor([number[node] for node in exact.nodes], dtype=torch.long)
    order[torch.isin(order, verified)] = verified[exact.ranking()]
    return order
