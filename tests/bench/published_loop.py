"""The loop of the published sparse-feature-circuits code, written anew from its description, to be measured beside ours.

Its own code pins an old tracing library and needs models and dictionaries of its own. What it does (arXiv 2403.19647 and
its repository at 1d87366), in plain torch hooks, which costs less than its tracing does:

1. Nodes: for each submodule in turn all steps of the path as one batch, through the whole model.
2. Edges: for each pair of submodules one pass through the whole model with the two dictionaries in place and what lies
   between them held fixed; then one backward pass, with the graph retained, for every kept downstream entry
   (example, position, latent), each giving a gradient for all of the upstream dictionary.

The path's points are midpoints here as in ours, so that effects can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from circuits.paths import upstream_of
from circuits.problem import Problem
from data.models import Edit
from data.words import Node, Site


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of the metric along a site's latents [batch pos d_sae] and error [batch pos d_model]."""

    latents: Tensor
    errors: Tensor


def node_gradients(problem: Problem, steps: int) -> dict[Site, Gradients]:
    """Integrated gradients of every site, each by whole passes."""
    return {site: _path(problem, site, steps) for site in problem.sites}


def _path(problem: Problem, site: Site, steps: int) -> Gradients:
    state, pairs = problem.states[site], len(problem)
    alpha = ((torch.arange(steps) + 0.5) / steps).repeat_interleave(pairs)[:, None, None]
    rows = torch.arange(pairs).repeat(steps)
    f = torch.lerp(state.f_patch[rows], state.f[rows], alpha).requires_grad_()
    e = torch.lerp(state.e_patch[rows], state.e[rows], alpha).requires_grad_()
    value = problem.mediators[site].decode(f) + e
    problem.metric(problem.run(rows, {site: lambda _: value}), rows).sum().backward()
    assert f.grad is not None
    assert e.grad is not None
    return Gradients(f.grad.unflatten(0, (steps, pairs)).mean(0), e.grad.unflatten(0, (steps, pairs)).mean(0))


def node_effects(problem: Problem, gradients: Mapping[Site, Gradients]) -> dict[Site, Tensor]:
    """Mean effects [pos d_sae + 1] of every site's latents, and of its error last."""
    found: dict[Site, Tensor] = {}
    for site, gradient in gradients.items():
        state = problem.states[site]
        errors = (gradient.errors * state.error_change).sum(-1, keepdim=True)
        found[site] = torch.cat([gradient.latents * state.latent_change, errors], dim=-1).mean(0)
    return found


def effect_of(effects: Mapping[Site, Tensor], node: Node) -> Tensor:
    """The mean effect of one node."""
    assert node.site is not None
    return effects[node.site][node.position, -1 if node.latent is None else node.latent]


def strongest(problem: Problem, effects: Mapping[Site, Tensor], kept: int) -> list[Node]:
    """The `kept` nodes of largest absolute mean effect."""
    table = [
        (float(value), problem.mediators[site].node(None if i == effect.shape[1] - 1 else i, position))
        for site, effect in effects.items()
        for position, i in effect.nonzero().tolist()
        for value in [effect[position, i].abs()]
    ]
    return [node for _, node in sorted(table, key=lambda entry: -entry[0])[:kept]]


def edge_effects(
    problem: Problem, nodes: Sequence[Node], gradients: Mapping[Site, Gradients]
) -> dict[tuple[Node, Node], Tensor]:
    """Per-example effects [batch] of the edges between kept nodes."""
    found: dict[tuple[Node, Node], Tensor] = {}
    for down in problem.sites:
        for up in upstream_of(problem, down):
            above, below = ([n for n in nodes if n.site == site] for site in (up, down))
            if above and below:
                _between(problem, up, down, above, below, gradients[down], found)
    return found


def _between(
    problem: Problem, up: Site, down: Site, above: Sequence[Node], below: Sequence[Node], gradient: Gradients,
    found: dict[tuple[Node, Node], Tensor],
) -> None:  # fmt: skip
    state, rows = problem.states[up], torch.arange(len(problem))
    f, e = state.f.clone().requires_grad_(), state.e.clone().requires_grad_()
    seen: list[Tensor] = []
    edits: dict[Site, Edit] = {
        site: lambda _, x=problem.states[site].x: x for site in problem.sites if up < site < down and site != up
    }
    edits |= {up: lambda _: problem.mediators[up].decode(f) + e, down: lambda x: seen.append(x)}
    problem.run(rows, edits)
    g = problem.mediators[down].encode(seen[0])
    error = seen[0] - problem.mediators[down].decode(g)
    for node in below:
        weights = torch.zeros(len(problem), len(above))
        for row in rows.tolist():
            value = _value(node, row, g, error, gradient)
            if value is not None and value.requires_grad:
                grads = torch.autograd.grad(value, (f, e), retain_graph=True, materialize_grads=True)
                weights[row] = torch.stack([_along(problem, n, row, *grads) for n in above])
        found |= {(n, node): weights[:, i] for i, n in enumerate(above)}


def _value(node: Node, row: int, g: Tensor, error: Tensor, gradient: Gradients) -> Tensor | None:
    """What is sent back for one downstream entry; None where the latent is silent."""
    at = (row, node.position)
    if node.latent is None:
        return (gradient.errors[at] * error[at]).sum()
    return (
        gradient.latents[(*at, node.latent)] * g[(*at, node.latent)] if float(g[(*at, node.latent)].detach()) else None
    )


def _along(problem: Problem, node: Node, row: int, grad_f: Tensor, grad_e: Tensor) -> Tensor:
    assert node.site is not None
    state, at = problem.states[node.site], (row, node.position)
    if node.latent is None:
        return (grad_e[at] * state.error_change[at]).sum()
    return grad_f[(*at, node.latent)] * state.latent_change[(*at, node.latent)]
