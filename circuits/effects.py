"""Node effects, kept per example.

1. A method hands over, per site, the gradient that it averaged ([batch pos d_model]); `from_gradients` turns it into the
   effect of every node and of the error: gradient (in the node's own coordinates) times clean minus reference.
   The sign: positive means that the node carries part of the clean answer, since the effect is the part of the metric
   that would be lost if the node took its reference value.
2. `Effects` is sparse: a row per (example, node) with a non-zero effect. An error node is one scalar per site and
   position, summed over d_model (arXiv 2403.19647, section 3.1).
3. `mean`, `ranking` and `matrix` aggregate over examples; intervals come from `circuits.intervals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.problem import Problem
from data.words import Node, Site


@dataclass(frozen=True, eq=False)
class Effects:
    """Sparse per-example node effects; the four columns have one entry per (example, node)."""

    example: Int[Tensor, " entries"]
    node: Int[Tensor, " entries"]
    effect: Float[Tensor, " entries"]
    nodes: tuple[Node, ...]
    """The nodes that `node` counts: every node whose value differs from its reference for some pair."""
    examples: int
    score: Float[Tensor, " nodes"] | None = None
    """What the method ranks nodes by, the larger the earlier, where that is not the size of the mean effect."""

    @property
    def mean(self) -> Float[Tensor, " nodes"]:
        """Mean effect of each node over all examples (an example in which it is silent counts as 0)."""
        return torch.zeros(len(self.nodes)).index_add(0, self.node, self.effect) / self.examples

    @property
    def mean_absolute(self) -> Float[Tensor, " nodes"]:
        """Mean absolute effect: larger than |mean| where signs cancel between examples."""
        return torch.zeros(len(self.nodes)).index_add(0, self.node, self.effect.abs()) / self.examples

    def ranking(self) -> Int[Tensor, " nodes"]:
        """Node numbers by falling absolute mean effect, or by falling `score` where the method gives one; ties by number,
        so that the order is the same everywhere."""
        score = self.mean.abs() if self.score is None else self.score
        return torch.sort(score, descending=True, stable=True).indices

    def matrix(self, nodes: Int[Tensor, " chosen"]) -> Float[Tensor, "examples chosen"]:
        """The per-example effects of some nodes, dense."""
        column = torch.full((len(self.nodes),), -1)
        column[nodes] = torch.arange(len(nodes))
        inside = column[self.node] >= 0
        dense = torch.zeros(self.examples, len(nodes))
        return dense.index_put((self.example[inside], column[self.node[inside]]), self.effect[inside], accumulate=True)


def from_gradients(problem: Problem, gradients: Mapping[Site, Float[Tensor, "batch pos d_model"]]) -> Effects:
    """Effects of all nodes from one averaged gradient per site; see the module."""
    return from_dense(problem, {site: _site_effects(problem, site, g) for site, g in gradients.items()})


def _site_effects(problem: Problem, site: Site, gradient: Tensor) -> Float[Tensor, "batch pos nodes"]:
    state, one = problem.states[site], problem.mediators[site]
    latents = one.gathered(one.along(gradient) * state.latent_change)
    error = (gradient * state.error_change).sum(-1, keepdim=True)
    return torch.cat([latents, error], dim=-1)


def from_dense(problem: Problem, effects: Mapping[Site, Float[Tensor, "batch pos nodes"]]) -> Effects:
    """Sparse effects from dense ones, whose last axis is a site's nodes and then the error.

    Positions are summed into their places.
    """
    return from_placed(problem, {site: by_place(problem, values) for site, values in effects.items()})


def from_placed(problem: Problem, effects: Mapping[Site, Float[Tensor, "batch places nodes"]]) -> Effects:
    """Sparse effects from dense ones by place. Nodes whose value never differs from its reference are left out: nothing
    can be said of them."""
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    nodes: list[Node] = []
    for site in problem.sites:
        live = moving(problem, site)
        number = torch.full(live.shape, -1)
        number[live] = torch.arange(len(nodes), len(nodes) + int(live.sum()))
        one, last = problem.mediators[site], live.shape[1] - 1
        nodes += [one.node(None if i == last else i, place) for place, i in live.nonzero().tolist()]
        placed = effects[site]
        example, place, latent = placed.nonzero(as_tuple=True)
        columns.append((example, number[place, latent], placed[example, place, latent]))
    example, node, effect = (torch.cat(parts) for parts in zip(*columns, strict=True))
    known = node >= 0
    return Effects(example[known], node[known], effect[known], tuple(nodes), len(problem))


def by_place(
    problem: Problem, values: Float[Tensor, "rows pos width"], rows: Int[Tensor, " rows"] | None = None
) -> Float[Tensor, "rows places width"]:
    """Values at the positions of pairs `rows` (all for none), summed over those of each place; padding falls away."""
    place = problem.place if rows is None else problem.place[rows]
    inside = place >= 0
    if len(problem.places) == values.shape[1] and bool(inside.all()):
        return values
    total = torch.zeros(len(values), len(problem.places) + 1, values.shape[-1])
    index = torch.where(inside, place, len(problem.places))[..., None].expand_as(values)
    return total.scatter_add(1, index, values)[:, :-1]


def moving(problem: Problem, site: Site) -> Bool[Tensor, "places nodes"]:
    """Which nodes of a site, the error last, ever differ from their reference."""
    state, one = problem.states[site], problem.mediators[site]
    latents = one.gathered((state.latent_change != 0).float())
    error = (state.error_change != 0).any(-1, keepdim=True).float()
    return (by_place(problem, torch.cat([latents, error], dim=-1)) > 0).any(0)
