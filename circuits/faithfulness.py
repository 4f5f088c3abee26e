"""How much of the behaviour a circuit of nodes recovers, on held-out pairs, against random circuits of the same size.

1. Faithfulness F(C) = (m(C) - m(none)) / (m(all) - m(none)): every node outside C at its reference value, those inside
   recomputed (arXiv 2403.19647, section 3.3). m(none) has every node at reference, m(all) is the clean prompt's metric.
2. Completeness is the same of the complement: what is left when C is taken out; 0 is ideal.
3. The control draws circuits with as many nodes at each site, at random from all nodes that ever differ from
   their reference: a node that cannot matter would make the control too easy to beat.

Points, their intervals and their spread are in `circuits.curves`, circuits of edges in `circuits.edge_faithfulness`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.curves import KINDS, Evaluation, point, sizes
from circuits.methods import silent
from circuits.problem import Problem
from circuits.splice import Mask, ablated, empty_masks
from data.progress import Report
from data.words import Node, Site

__all__ = ["KINDS", "Evaluation", "curve", "masks_of", "random_nodes", "recovered", "sizes"]


def curve(
    problem: Problem,
    ranked: Sequence[Node],
    pool: Sequence[Node],
    *,
    at: Sequence[int],
    draws: int,
    seed: int,
    report: Report | None = None,
) -> list[Evaluation]:
    """Faithfulness and completeness of the first nodes of `ranked`, at each size of `at`; controls drawn from `pool`."""
    points: list[Evaluation] = []
    for number, size in enumerate(at):
        chosen = ranked[:size]
        random = [random_nodes(chosen, pool, seed=seed * 1000 + draw) for draw in range(draws)]
        points += [_point(problem, kind, chosen, random, seed) for kind in KINDS]
        (report or silent)(number + 1, len(at))
    return points


def _point(
    problem: Problem, kind: str, chosen: Sequence[Node], random: Sequence[Sequence[Node]], seed: int
) -> Evaluation:
    gained = recovered(problem, chosen, kind)
    drawn = [recovered(problem, nodes, kind) for nodes in random]
    return point(kind, len(chosen), gained, drawn, mask="nodes", ablation=problem.reference_name, seed=seed)


def random_nodes(like: Sequence[Node], pool: Sequence[Node], *, seed: int) -> list[Node]:
    """As many nodes at each site as `like` has, at random from `pool` (all of a site when it has no more)."""
    generator = torch.Generator().manual_seed(seed)
    chosen: list[Node] = []
    for site, count in sorted(Counter(node.site for node in like if node.site).items()):
        here = [node for node in pool if node.site == site]
        chosen += [here[i] for i in torch.randperm(len(here), generator=generator)[:count].tolist()]
    return chosen


def masks_of(problem: Problem, nodes: Sequence[Node]) -> dict[Site, Mask]:
    """The masks that hold exactly `nodes`."""
    masks = empty_masks(problem)
    for node in nodes:
        assert node.site is not None
        if node.latent is None:
            masks[node.site].errors[node.position] = True
        else:
            masks[node.site].latents[node.position, node.latent] = True
    return masks


def recovered(problem: Problem, nodes: Sequence[Node], kind: str = "faithfulness") -> Float[Tensor, "batch two"]:
    """Per pair, what the circuit (or its complement) recovers, and the total it could: their means' ratio is F."""
    masks = masks_of(problem, nodes)
    if kind == "completeness":
        masks = {site: mask.complement() for site, mask in masks.items()}
    gained = ablated(problem, masks) - problem.none_metric
    return torch.stack([gained, problem.clean_metric - problem.none_metric], dim=1)
