"""Effects along edges between the kept nodes of successive sites, and from the last site to the metric.

1. For a downstream node d, the weight of u -> d is (dm/dd) (dd/du) (u_clean - u_patch), as in sparse feature circuits
   (arXiv 2403.19647, section 3.1, edge weights), with the method's averaged gradient for dm/dd. No site lies between
   successive sites, so no intermediate node has to be stopped.
2. dd/dx is asked of the dictionary itself (for an error node, of x - decode(encode(x)) along its gradient), and is
   sent back through the blocks between the two sites in one backward pass, which gives all upstream nodes at once:
   du enters the stream by its decoder row, an upstream error enters it as it is.
3. A downstream latent matters only where it fires: the rows of a pass are (example, node) with a non-zero gradient, so
   that nodes share passes and silent examples cost nothing.
4. Residual sites are a bottleneck: nothing passes them by, so an earlier node reaches the metric only through the
   next site, and the edge of a last-site node to the metric is its node effect.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.effects import Effects
from circuits.methods import silent
from circuits.problem import Problem
from data.progress import Report
from data.words import Node, Site


@dataclass(frozen=True, eq=False)
class Edges:
    """Per-example edge effects: `effect` [examples edges] from node number `source` to `target`."""

    source: Int[Tensor, " edges"]
    target: Int[Tensor, " edges"]
    effect: Float[Tensor, "examples edges"]


@dataclass(frozen=True, eq=False)
class _Layer:
    """The kept nodes at one site: their numbers in the circuit, positions, and latents (-1 for an error)."""

    site: Site
    number: Int[Tensor, " nodes"]
    position: Int[Tensor, " nodes"]
    latent: Int[Tensor, " nodes"]


def edge_effects(
    problem: Problem, nodes: Sequence[Node], gradients: Mapping[Site, Tensor], report: Report | None = None
) -> Edges:
    """The effect of every edge between kept nodes of successive sites, on every example."""
    layers = [_layer(site, nodes) for site in problem.sites]
    found: list[Edges] = []
    for number, (upstream, downstream) in enumerate(itertools.pairwise(layers)):
        if len(upstream.number) and len(downstream.number):
            found.append(_between(problem, upstream, downstream, gradients[downstream.site]))
        (report or silent)(number + 1, len(layers) - 1)
    if not found:
        none = torch.zeros(0, dtype=torch.long)
        return Edges(none, none, torch.zeros(len(problem), 0))
    source, target = (torch.cat([getattr(e, end) for e in found]) for end in ("source", "target"))
    return Edges(source, target, torch.cat([e.effect for e in found], dim=1))


def to_metric(problem: Problem, nodes: Sequence[Node], effects: Effects, numbers: Int[Tensor, " kept"]) -> Edges:
    """The edges from the kept nodes of the last site to the metric, whose number is `len(nodes)`."""
    last = torch.tensor([i for i, node in enumerate(nodes) if node.site == max(problem.sites)], dtype=torch.long)
    return Edges(last, torch.full_like(last, len(nodes)), effects.matrix(numbers[last]))


def _layer(site: Site, nodes: Sequence[Node]) -> _Layer:
    mine = [(i, n.position, -1 if n.latent is None else n.latent) for i, n in enumerate(nodes) if n.site == site]
    columns = torch.tensor(mine, dtype=torch.long).reshape(-1, 3)
    return _Layer(site, columns[:, 0], columns[:, 1], columns[:, 2])


def _between(problem: Problem, upstream: _Layer, downstream: _Layer, gradient: Tensor) -> Edges:
    """All edges between two successive sites."""
    weight = torch.zeros(len(problem), len(upstream.number), len(downstream.number))
    change = _upstream_change(problem, upstream)
    example, node = _live_rows(problem, downstream, gradient)
    for rows, which in zip(example.split(problem.batch), node.split(problem.batch), strict=True):
        back = _pull_back(problem, upstream.site, downstream, gradient[rows], rows, which)
        weight[rows, :, which] = _along(problem, upstream, back, rows, change[rows])
    source = upstream.number.repeat_interleave(len(downstream.number))
    return Edges(source, downstream.number.repeat(len(upstream.number)), weight.flatten(1))


def _upstream_change(problem: Problem, layer: _Layer) -> Float[Tensor, "batch nodes"]:
    """Clean minus counterfactual activation of each latent; 0 for errors, which `_along` treats as vectors."""
    change = problem.states[layer.site].latent_change[:, layer.position, layer.latent.clamp_min(0)]
    return torch.where(layer.latent < 0, 0.0, change)


def _live_rows(problem: Problem, layer: _Layer, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The (example, downstream node) in which a latent fires, or an error stands, and the metric feels it."""
    active = problem.states[layer.site].f[:, layer.position, layer.latent.clamp_min(0)] != 0
    felt = gradient[:, layer.position].abs().sum(-1) > 0
    example, node = (torch.where(layer.latent < 0, True, active) & felt).nonzero(as_tuple=True)
    return example, node


def _pull_back(
    problem: Problem, site: Site, downstream: _Layer, gradient: Tensor, rows: Tensor, which: Tensor
) -> Float[Tensor, "rows pos d_model"]:
    """(dm/dd) (dd/dx) at the upstream `site`, for one downstream node per row."""
    leaf = problem.states[site].x[rows].detach().requires_grad_()
    reached: dict[Site, Tensor] = {}
    keep = functools.partial(reached.__setitem__, downstream.site)
    problem.model.run(problem.clean[rows], start=(site, leaf), edits={downstream.site: keep}, stop=downstream.site)
    x = reached[downstream.site]
    (back,) = torch.autograd.grad(x, leaf, _seed(problem, downstream, x.detach(), gradient, which))
    return back


def _seed(problem: Problem, layer: _Layer, x: Tensor, gradient: Tensor, which: Tensor) -> Tensor:
    """(dm/dd) (dd/dx) at the downstream site itself, asked of the dictionary at each row's own position."""
    dictionary = problem.dictionaries[layer.site]
    row = torch.arange(len(x))
    position, latent = layer.position[which], layer.latent[which]
    here = x[row, position].detach().requires_grad_()
    slope = gradient[row, position]
    f = dictionary.encode(here)
    # A latent is felt along its decoder row, an error along the gradient itself.
    felt = (slope * dictionary.W_dec[latent.clamp_min(0)]).sum(-1).detach() * f[row, latent.clamp_min(0)]
    error = (slope * (here - dictionary.decode(f))).sum(-1)
    (local,) = torch.autograd.grad(torch.where(latent < 0, error, felt).sum(), here)
    seed = torch.zeros_like(x)
    seed[row, position] = local
    return seed


def _along(problem: Problem, layer: _Layer, back: Tensor, rows: Tensor, change: Tensor) -> Float[Tensor, "rows nodes"]:
    """The pulled-back gradient along each upstream node's change."""
    here = back[:, layer.position]
    state, decoder = problem.states[layer.site], problem.dictionaries[layer.site].W_dec
    latents = torch.einsum("rnd,nd->rn", here, decoder[layer.latent.clamp_min(0)]) * change
    errors = (here * state.error_change[rows][:, layer.position]).sum(-1)
    return torch.where(layer.latent < 0, errors, latents)
