"""Effects along edges: from every kept node to every later one that it reaches directly, and to the metric.

1. For a downstream node d, the weight of u -> d is (dm/dd) (dd/du) (u_clean - u_reference), with the nodes of all spliced
   sites in between stopped (arXiv 2403.19647, section 3.1, edge weights), and the method's averaged gradient for dm/dd.
2. dd/dx is asked of the mediator itself (for an error node, of x - decode(encode(x)) along its gradient), and is sent back
   in one pass, which gives all upstream nodes at all upstream sites at once: du enters a site by its decoder row, an
   upstream error enters it as it is.
3. Where all paths run along the stream alone (every part in between is spliced at its output), what arrives upstream is
   what left downstream: a matrix product without any pass. That the model adds its parts so is tried on the first rows.
4. A downstream latent matters only where it fires: the rows of a pass are (example, node) with a non-zero gradient, so
   that nodes share passes and silent examples cost nothing.
5. Downstream nodes are taken a few at a time and only edges above a floor are kept, so that memory grows with what is
   kept and never with nodes times nodes; what was left out is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.effects import Effects
from circuits.methods import silent
from circuits.paths import purely_residual, reach, upstream_of
from circuits.problem import Problem
from data.progress import Report
from data.words import Node, Site

AT_ONCE = 16 << 20
"""Numbers held for the downstream nodes that are taken at a time: 64 MB."""
ROUNDING = 1e-4
"""Relative difference at which a path still counts as the identity: fp32 through one block gives about 1e-6."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Per-example edge effects: `effect` [examples edges] from node number `source` to `target`."""

    source: Int[Tensor, " edges"]
    target: Int[Tensor, " edges"]
    effect: Float[Tensor, "examples edges"]
    left_out: int = 0
    """Edges below the floor, which are not here."""
    left_out_effect: float = 0.0
    """The sum of their absolute mean effects."""


@dataclass(frozen=True, eq=False)
class Layer:
    """The kept nodes at one site: their numbers in the circuit, places, and latents (-1 for an error)."""

    site: Site
    number: Int[Tensor, " nodes"]
    place: Int[Tensor, " nodes"]
    latent: Int[Tensor, " nodes"]

    @classmethod
    def of(cls, site: Site, nodes: Sequence[Node]) -> Layer:
        mine = [(i, n.position, -1 if n.latent is None else n.latent) for i, n in enumerate(nodes) if n.site == site]
        columns = torch.tensor(mine, dtype=torch.long).reshape(-1, 3)
        return cls(site, columns[:, 0], columns[:, 1], columns[:, 2])

    def take(self, which: Int[Tensor, " some"]) -> Layer:
        return Layer(self.site, self.number[which], self.place[which], self.latent[which])

    def __len__(self) -> int:
        return len(self.number)


def edge_effects(
    problem: Problem,
    nodes: Sequence[Node],
    gradients: Mapping[Site, Tensor],
    report: Report | None = None,
    *,
    floor: float = 0.0,
) -> Edges:
    """The effect of every edge between kept nodes on every example, but for those whose mean is below `floor`."""
    layers = {site: Layer.of(site, nodes) for site in problem.sites}
    found: list[Edges] = []
    for number, site in enumerate(problem.sites):
        upstream = [layers[up] for up in upstream_of(problem, site) if len(layers[up])]
        if upstream and len(layers[site]):
            found += [
                _into(problem, upstream, some, gradients[site], floor)
                for some in _pieces(problem, upstream, layers[site])
            ]
        (report or silent)(number + 1, len(problem.sites))
    return joined(found, len(problem))


def joined(found: Sequence[Edges], examples: int) -> Edges:
    """Several lots of edges as one."""
    none = torch.zeros(0, dtype=torch.long)
    source, target = (torch.cat([none, *(getattr(e, end) for e in found)]) for end in ("source", "target"))
    effect = torch.cat([torch.zeros(examples, 0), *(e.effect for e in found)], dim=1)
    return Edges(source, target, effect, sum(e.left_out for e in found), sum(e.left_out_effect for e in found))


def to_metric(problem: Problem, nodes: Sequence[Node], effects: Effects, numbers: Int[Tensor, " kept"]) -> Edges:
    """The edges from kept nodes to the metric, whose number is `len(nodes)`, on paths that pass no other site.

    A node of the last site has no other way, so its edge is its effect. Those of earlier sites are by the gradient at the
    clean prompt with the later sites stopped.
    """
    last = max(problem.sites)
    layers = [Layer.of(site, nodes) for site in upstream_of(problem, None)]
    found: list[Edges] = []
    for layer in layers:
        if layer.site == last:
            effect = effects.matrix(numbers[layer.number])
        else:
            effect = torch.cat([_direct_to_metric(problem, layer, rows) for rows in problem.chunks()])
        found.append(Edges(layer.number, torch.full_like(layer.number, len(nodes)), effect))
    return joined(found, len(problem))


def _direct_to_metric(problem: Problem, layer: Layer, rows: Tensor) -> Float[Tensor, "rows nodes"]:
    leaf = torch.zeros_like(problem.states[layer.site].x[rows]).requires_grad_()
    logits = reach(problem, None, rows, {layer.site: leaf})
    (back,) = _felt_at([leaf], problem.metric(logits, rows).sum(), None)
    return along(problem, layer, back, rows)


def _felt_at(leaves: Sequence[Tensor], y: Tensor, seed: Tensor | None) -> Sequence[Tensor]:
    """The gradient `seed` of `y` at the leaves: zeros where no direct path leads from them to it, as from a query past the
    head that it is stopped at, or between attention and MLP that stand side by side."""
    if not y.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return torch.autograd.grad(y, leaves, seed, materialize_grads=True)


def _pieces(problem: Problem, upstream: Sequence[Layer], layer: Layer) -> Iterator[Layer]:
    """The downstream nodes, a few at a time."""
    size = max(1, AT_ONCE // (len(problem) * sum(map(len, upstream))))
    for which in torch.arange(len(layer)).split(size):
        yield layer.take(which)


def _into(problem: Problem, upstream: Sequence[Layer], layer: Layer, gradient: Tensor, floor: float) -> Edges:
    """All edges into the nodes of `layer`."""
    weight = torch.zeros(len(problem), sum(map(len, upstream)), len(layer))
    example, node = _live_rows(problem, layer, gradient)
    straight = len(example) > 0 and _straight(problem, upstream, layer, gradient, example[:1], node[:1])
    for rows, which in problem.pieces(example, node):
        seed = seed_of(problem, layer, rows, which, gradient[rows])
        back = {up.site: seed for up in upstream} if straight else _pull_back(problem, layer.site, upstream, rows, seed)
        weight[rows, :, which] = torch.cat([along(problem, up, back[up.site], rows) for up in upstream], dim=1)
    source = torch.cat([up.number for up in upstream]).repeat_interleave(len(layer))
    return _above(source, layer.number.repeat(sum(map(len, upstream))), weight.flatten(1), floor)


def _above(source: Tensor, target: Tensor, effect: Tensor, floor: float) -> Edges:
    size = effect.mean(0).abs()
    kept = size >= floor
    return Edges(source[kept], target[kept], effect[:, kept], int((~kept).sum()), float(size[~kept].sum()))


def _straight(
    problem: Problem, upstream: Sequence[Layer], layer: Layer, gradient: Tensor, row: Tensor, which: Tensor
) -> bool:
    """Whether a gradient sent back arrives upstream unchanged: the sites say so, and so it is for one row."""
    if not purely_residual(problem, layer.site):
        return False
    seed = seed_of(problem, layer, row, which, gradient[row])
    back = _pull_back(problem, layer.site, upstream, row, seed)
    return all(float((b - seed).norm()) <= ROUNDING * float(seed.norm()) for b in back.values())


def _live_rows(problem: Problem, layer: Layer, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The (example, downstream node) in which a latent fires, or an error stands, and the metric feels it."""
    one, state = problem.mediators[layer.site], problem.states[layer.site]
    inside = problem.place[:, :, None] == layer.place  # batch pos nodes
    fires = one.gathered((state.f != 0).float())[:, :, layer.latent.clamp_min(0)] > 0
    active = torch.where(layer.latent < 0, True, fires) & inside & (gradient != 0).any(-1, keepdim=True)
    example, node = active.any(1).nonzero(as_tuple=True)
    return example, node


def _pull_back(
    problem: Problem, site: Site, upstream: Sequence[Layer], rows: Tensor, seed: Float[Tensor, "rows pos d_model"]
) -> dict[Site, Tensor]:
    """What a gradient `seed` at `site` becomes at the upstream sites, on direct paths."""
    leaves = {up.site: torch.zeros_like(problem.states[up.site].x[rows]).requires_grad_() for up in upstream}
    x = reach(problem, site, rows, leaves)
    back = _felt_at(list(leaves.values()), x, seed)
    return dict(zip(leaves, back, strict=True))


def seed_of(
    problem: Problem, layer: Layer, rows: Int[Tensor, " rows"], which: Int[Tensor, " rows"], slope: Tensor
) -> Float[Tensor, "rows pos d_model"]:
    """(dm/dd) (dd/dx) at the site itself for one node per row, asked of the mediator at the node's own positions."""
    one, x = problem.mediators[layer.site], problem.states[layer.site].x[rows]
    inside = problem.place[rows] == layer.place[which][:, None]
    positions, real = _gather(inside)
    row = torch.arange(len(rows))[:, None]
    here = x[row, positions].requires_grad_()
    steep = slope[row, positions] * real[..., None]
    f = one.encode(here)
    own = layer.latent[which].clamp_min(0)[:, None] * one.width + torch.arange(one.width)
    # A latent is felt along its decoder row, an error along the gradient itself.
    values = f.gather(2, own[:, None].expand(-1, f.shape[1], -1))
    felt = (torch.einsum("rpd,rwd->rpw", steep, one.W_dec[own]).detach() * values).sum((1, 2))
    error = (steep * (here - one.decode(f))).sum((1, 2))
    (local,) = torch.autograd.grad(torch.where(layer.latent[which] < 0, error, felt).sum(), here)
    seed = torch.zeros_like(x)
    return seed.index_put((row.expand_as(positions), positions), local * real[..., None], accumulate=True)


def _gather(inside: Bool[Tensor, "rows pos"]) -> tuple[Int[Tensor, "rows most"], Bool[Tensor, "rows most"]]:
    """The positions that are inside, row by row, and which of them are real: rows have different numbers of them."""
    most = max(int(inside.sum(1).max()), 1)
    order = torch.sort(inside.to(torch.uint8), dim=1, descending=True, stable=True).indices[:, :most]
    return order, inside.gather(1, order)


def along(
    problem: Problem, layer: Layer, back: Float[Tensor, "rows pos d_model"], rows: Int[Tensor, " rows"]
) -> Float[Tensor, "rows nodes"]:
    """A gradient at the site along the change of each of its nodes, clean minus reference, over the node's positions."""
    found = torch.zeros(len(rows), len(layer))
    for place in layer.place.unique().tolist():
        mine = (layer.place == place).nonzero()[:, 0]
        inside = problem.place[rows] == place
        at = inside.any(0)
        here = back[:, at] * inside[:, at, None]
        found[:, mine] = _at_place(problem, layer.take(mine), here, rows, at)
    return found


def _at_place(problem: Problem, layer: Layer, here: Tensor, rows: Tensor, at: Tensor) -> Float[Tensor, "rows nodes"]:
    one, state = problem.mediators[layer.site], problem.states[layer.site]
    own = (layer.latent.clamp_min(0)[:, None] * one.width + torch.arange(one.width)).flatten()
    change = state.f[rows][:, at][..., own] - state.f_patch[rows][:, at][..., own]
    latents = ((here @ one.W_dec[own].T) * change).sum(1).unflatten(-1, (len(layer), one.width)).sum(-1)
    errors = (here * state.error_change[rows][:, at]).sum((1, 2))
    return torch.where(layer.latent < 0, errors[:, None], latents)
