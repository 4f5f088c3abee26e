"""Node effects, kept per example.

1. A method hands over, per site, the gradient that it averaged ([batch pos d_model]); `from_gradients` turns it into the
   effect of every latent and of the error node: gradient (in the node's own coordinates) times clean minus counterfactual.
   The sign: positive means that the node carries part of the clean answer, since the effect is the part of the metric
   that would be lost if the node took its counterfactual value.
2. `Effects` is sparse: a row per (example, node) with a non-zero effect. An error node is one scalar per site and
   position, summed over d_model (arXiv 2403.19647, section 3.1).
3. `mean`, `ranking` and `matrix` aggregate over examples; intervals come from `circuits.intervals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
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
    """The nodes that `node` counts: every node whose value differs between the prompts of some pair."""
    examples: int

    @property
    def mean(self) -> Float[Tensor, " nodes"]:
        """Mean effect of each node over all examples (an example in which it is silent counts as 0)."""
        return torch.zeros(len(self.nodes)).index_add(0, self.node, self.effect) / self.examples

    @property
    def mean_absolute(self) -> Float[Tensor, " nodes"]:
        """Mean absolute effect: larger than |mean| where signs cancel between examples."""
        return torch.zeros(len(self.nodes)).index_add(0, self.node, self.effect.abs()) / self.examples

    def ranking(self) -> Int[Tensor, " nodes"]:
        """Node numbers by falling absolute mean effect; ties by number, so that the order is the same everywhere."""
        return torch.sort(self.mean.abs(), descending=True, stable=True).indices

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
    state, dictionary = problem.states[site], problem.dictionaries[site]
    latents = (gradient @ dictionary.W_dec.T) * state.latent_change
    error = (gradient * state.error_change).sum(-1, keepdim=True)
    return torch.cat([latents, error], dim=-1)


def from_dense(problem: Problem, effects: Mapping[Site, Float[Tensor, "batch pos nodes"]]) -> Effects:
    """Sparse effects from dense ones, whose last axis is the latents and then the error node.

    Nodes whose value never differs between the prompts are left out: nothing can be said of them.
    """
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    nodes: list[Node] = []
    for site in problem.sites:
        live = _live(problem, site)
        number = torch.full(live.shape, -1)
        number[live] = torch.arange(len(nodes), len(nodes) + int(live.sum()))
        nodes += [_node(site, position, latent, live.shape[1] - 1) for position, latent in live.nonzero().tolist()]
        example, position, latent = effects[site].nonzero(as_tuple=True)
        columns.append((example, number[position, latent], effects[site][example, position, latent]))
    example, node, effect = (torch.cat(parts) for parts in zip(*columns, strict=True))
    known = node >= 0
    return Effects(example[known], node[known], effect[known], tuple(nodes), len(problem))


def _live(problem: Problem, site: Site) -> Tensor:
    """Which (position, node) of a site ever differ between clean and counterfactual."""
    state = problem.states[site]
    latents = (state.latent_change != 0).any(0)
    error = (state.error_change != 0).any(-1).any(0)
    return torch.cat([latents, error[:, None]], dim=1)


def _node(site: Site, position: int, latent: int, latents: int) -> Node:
    return Node(site, "error", None, position) if latent == latents else Node(site, "latent", latent, position)
