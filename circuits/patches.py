"""What single nodes add to the value at their site: one node per row, so that many nodes share a pass.

1. A row is an (example, node); `moved` says which rows have something to patch at all.
2. `changes` is what each row's node adds at its own positions, clean minus reference: its coordinates' change along their
   decoder rows, or the error's change as it is. The decoder is affine, so taking this away sets the node alone to its
   reference value and leaves all others as they are.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.edges import Layer
from circuits.effects import by_place
from circuits.mediators import Coordinates, Mediator
from circuits.problem import Problem


def moved(problem: Problem, layer: Layer) -> Bool[Tensor, "batch nodes"]:
    """In which examples each node of `layer` differs from its reference."""
    one, state = problem.mediators[layer.site], problem.states[layer.site]
    latents = one.gathered((state.latent_change != 0).float())
    error = (state.error_change != 0).any(-1, keepdim=True).float()
    placed = by_place(problem, torch.cat([latents, error], dim=-1)) > 0
    return placed[:, layer.place, torch.where(layer.latent < 0, one.count, layer.latent)]


def changes(
    problem: Problem, layer: Layer, rows: Int[Tensor, " rows"], which: Int[Tensor, " rows"]
) -> Float[Tensor, "rows pos d_model"]:
    """What node `which[i]` of `layer` adds to the site's value in pair `rows[i]`, clean minus reference."""
    one, state = problem.mediators[layer.site], problem.states[layer.site]
    latent = layer.latent[which]
    at = at_coordinates(one, latent, rows, state.f.shape[1])
    change = along_decoder(one, latent, state.f[at] - state.f_patch[at])
    change = torch.where(latent[:, None, None] < 0, state.e[rows] - state.e_patch[rows], change)
    return change * inside(problem, layer, rows, which)


def inside(
    problem: Problem, layer: Layer, rows: Int[Tensor, " rows"], which: Int[Tensor, " rows"]
) -> Bool[Tensor, "rows pos one"]:
    """The positions of each row's node."""
    return (problem.place[rows] == layer.place[which][:, None])[..., None]


def at_coordinates(
    one: Mediator, latent: Int[Tensor, " rows"], rows: Int[Tensor, " rows"], positions: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The index that takes each row's own coordinates [rows pos width] out of those of all pairs; an error takes some."""
    own = latent.clamp_min(0)[:, None] * one.width + torch.arange(one.width)
    return rows[:, None, None], torch.arange(positions)[None, :, None], own[:, None, :]


def along_decoder(
    one: Mediator, latent: Int[Tensor, " rows"], values: Float[Tensor, "rows pos width"]
) -> Float[Tensor, "rows pos d_model"]:
    """What `values` of each row's own coordinates add to the site's value."""
    own = latent.clamp_min(0)[:, None] * one.width + torch.arange(one.width)
    if not isinstance(one.basis, Coordinates):
        return torch.einsum("rpw,rwd->rpd", values, one.W_dec[own])
    # A coordinate writes to itself alone: the rows of an identity would be as many matrices as there are rows.
    whole = values.new_zeros(*values.shape[:2], one.basis.d_model)
    return whole.scatter(2, own[:, None].expand_as(values), values)
