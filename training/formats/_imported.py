"""What a format hands over, and the plain reading that an import is proved with.

1. `Imported` holds the weights under sae-lens' names, the sites as far as they are known, and `formula`: what the
   source's own paper or documentation says the dictionary computes, on its own tensors, in float64.
2. `products` are its pre-activations, with what a sum in fp32 may be off by.
3. `add_up` sums active rows of the decoder, token by token. A latent whose pre-activation lies within rounding of its
   threshold may be on in one precision and off in the other; what it would add belongs to the token's `bound`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from data.errors import Mistake
from data.words import Site

ROUNDING = 1e-5
"""Of the sizes multiplied. Each of n products in an fp32 sum is rounded by 2^-24; their errors add up like sqrt(n) to
n times that: 4e-6 to 2e-4 at n = 4096. Summed in blocks, as matrix products are, they stay near the lower end."""
CHUNK = 8192
"""Latents whose weights are held in float64 at a time."""


@dataclass(frozen=True)
class Reading:
    """A reconstruction in float64, and how far from it one in fp32 may be."""

    value: Float[Tensor, "tokens d_out"]
    bound: Float[Tensor, " tokens"]


@dataclass(frozen=True)
class Imported:
    """A dictionary as a format describes it."""

    architecture: str
    """Of sae-lens' registry or training/inference."""
    fields: Mapping[str, Any]
    """Of the architecture's config, metadata aside."""
    weights: Mapping[str, Tensor]
    """Under sae-lens' names, in fp32."""
    formula: Callable[[Tensor], Reading]
    """What the source computes from values [tokens, d_in] of the sites read."""
    reads: tuple[Site, ...] = ()
    writes: tuple[Site, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Products:
    """Pre-activations in float64, and `slack`: what fp32 may be off by."""

    value: Float[Tensor, "tokens d_sae"]
    slack: Float[Tensor, "tokens d_sae"]


def products(
    x: Float[Tensor, "tokens d_in"], encoder: Float[Tensor, "d_sae d_in"], bias: Float[Tensor, " d_sae"]
) -> Products:
    """x W^T + b, with the encoder's rows one latent each."""
    x = x.double()
    values, slacks = [], []
    for rows, b in zip(encoder.split(CHUNK), bias.split(CHUNK), strict=True):
        w, b = rows.double(), b.double()
        values.append(x @ w.T + b)
        slacks.append(ROUNDING * (x.norm(dim=-1)[:, None] * w.norm(dim=-1) + b.abs()))
    return Products(torch.cat(values, dim=-1), torch.cat(slacks, dim=-1))


def above(pre: Products, border: Float[Tensor, " #d_sae"]) -> tuple[Bool[Tensor, "..."], Bool[Tensor, "..."]]:
    """Which latents are above their border, and for which of them rounding may decide."""
    return pre.value > border, (pre.value - border).abs() <= pre.slack


def largest(pre: Products, k: int) -> tuple[Bool[Tensor, "..."], Bool[Tensor, "..."]]:
    """Which latents are positive and among the k largest of their token, and for which of them rounding may decide."""
    ranked = pre.value.sort(dim=-1, descending=True).values
    last, next_ = ranked[:, k - 1 : k], ranked[:, k : k + 1]
    if not next_.numel():
        return above(pre, torch.zeros(1))
    on = (pre.value >= last) & (pre.value > 0)
    return on, ((pre.value - (last + next_) / 2).abs() <= pre.slack) & (pre.value + pre.slack > 0)


def add_up(
    reach: Products,
    on: Bool[Tensor, "tokens d_sae"],
    unsure: Bool[Tensor, "tokens d_sae"],
    decoder: Float[Tensor, "d_sae d_out"],
    base: Float[Tensor, "#tokens d_out"],
) -> Reading:
    """`base` plus each active latent's `reach` (its activation when on) times its row of the decoder."""
    base = base.double().expand(len(on), -1)
    values, bounds = [], []
    for t, start in enumerate(base):
        rows = (on[t] | unsure[t]).nonzero()[:, 0]
        height, directions = reach.value[t, rows].clamp(min=0), decoder[rows].double()
        values.append(start + torch.where(on[t, rows], height, 0) @ directions)
        loose = reach.slack[t, rows] + ROUNDING * height + torch.where(unsure[t, rows], height, 0)
        bounds.append(loose @ directions.norm(dim=-1) + ROUNDING * start.norm())
    return Reading(torch.stack(values), torch.stack(bounds))


def tensors(path: Path, wanted: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in fp32; raises `Mistake` when it is broken or lacks one of `wanted`."""
    try:
        found = {name: tensor.float() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise Mistake(
            f"{str(path)!r} is not a whole safetensors file ({error}): it is truncated or was changed. Fetch it again."
        ) from error
    return having(found, wanted, path)


def having(found: dict[str, Tensor], wanted: Sequence[str], path: Path) -> dict[str, Tensor]:
    """`found`, if it has everything `wanted`."""
    if missing := [name for name in wanted if name not in found]:
        raise Mistake(f"{str(path)!r} lacks {', '.join(missing)}; it holds {', '.join(sorted(found))}.")
    return found


def shaped(found: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]], path: Path) -> None:
    """Raises `Mistake` unless the tensors have these shapes."""
    for name, shape in shapes.items():
        if tuple(found[name].shape) != tuple(shape):
            raise Mistake(
                f"{name} in {str(path)!r} has shape {tuple(found[name].shape)}, but its config says {tuple(shape)}: "
                f"the two files do not belong together."
            )
