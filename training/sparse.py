"""Sparse encoding and decoding for dictionaries of which few latents are active: exact values, exact gradients.

1. `choose` notes which entries of the pre-activations survive; each is one (token, latent) pair.
2. `encode` gives their values, `decode` the reconstruction, as weighted sums of decoder rows (an *embedding bag*).
3. The gradients are bags too: over the tokens of each latent for the weights, a dot product for each entry.

Of the five dense products of a step (encode, decode, and three gradients) only the first is left: the others cost
entries x d_model, not batch x d_sae x d_model (Gao et al. 2024, arXiv 2406.04093, appendix D.2). Dictionaries of a stack
lie behind one another, so that one call serves them all. The same code runs on CUDA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Bags:
    """Entries grouped: those of group g are at `start[g]` up to `start[g + 1]`."""

    start: Int[Tensor, " groups"]
    """Where each group begins, the end of the last one included."""
    order: Int[Tensor, " entries"] | None
    """Which entry stands where; None: as they are."""
    other: Int[Tensor, " entries"]
    """For each entry in that order, the row of the table that it weighs."""

    def sums(self, table: Float[Tensor, "rows d_model"], weight: Float[Tensor, " entries"]) -> Tensor:
        """For each group the sum of its entries' rows of `table`, times their weights: [groups, d_model]."""
        ordered = weight if self.order is None else weight[self.order]
        return functional.embedding_bag(
            self.other, table, self.start, mode="sum", per_sample_weights=ordered, include_last_offset=True
        )


@dataclass(frozen=True)
class Chosen:
    """The entries that are active, sorted by token. Tokens and latents of a stack are numbered through."""

    token: Int[Tensor, " entries"]
    """member x batch + token."""
    latent: Int[Tensor, " entries"]
    """member x d_sae + latent."""
    shape: tuple[int, int, int]
    """member, batch, d_sae."""
    by_token: Bags
    by_latent: Bags

    @property
    def fired(self) -> Bool[Tensor, "member d_sae"]:
        """Which latents are active on any token."""
        member, _, d_sae = self.shape
        return (self.by_latent.start.diff() > 0).view(member, d_sae)

    @property
    def count(self) -> Int[Tensor, " member"]:
        """How many entries each member has."""
        member, batch, _ = self.shape
        return self.by_token.start[::batch].diff() if member * batch else self.by_token.start[:0]


def choose(active: Int[Tensor, " entries"], shape: tuple[int, int, int]) -> Chosen:
    """The entries at the flat places `active` (ascending) of a tensor [member, batch, d_sae]."""
    member, batch, d_sae = shape
    token = active // d_sae
    latent = token // batch * d_sae + active % d_sae
    ordered, order = torch.sort(latent, stable=True)
    by_token = Bags(_starts(token, member * batch), None, latent)
    by_latent = Bags(_starts(ordered, member * d_sae), order, token[order])
    return Chosen(token, latent, shape, by_token, by_latent)


def refine(chosen: Chosen, part: Int[Tensor, " entries"], parts: int) -> Chosen:
    """`chosen` with every token taken apart into `parts`: entry e goes to part `part[e]`, ascending within a token.

    Decoding gives [member, batch x parts, d_out], the parts of a token side by side.
    """
    member, batch, d_sae = chosen.shape
    token = chosen.token * parts + part
    by_token = Bags(_starts(token, member * batch * parts), None, chosen.latent)
    order = chosen.by_latent.order
    by_latent = Bags(chosen.by_latent.start, order, token if order is None else token[order])
    return Chosen(token, chosen.latent, (member, batch * parts, d_sae), by_token, by_latent)


def _starts(ascending: Int[Tensor, " entries"], groups: int) -> Int[Tensor, " bounds"]:
    bounds = torch.arange(groups + 1, device=ascending.device)
    return torch.searchsorted(ascending, bounds)


def encode(
    x: Float[Tensor, "member batch d_in"],
    rows: Float[Tensor, "member d_sae d_in"],
    bias: Float[Tensor, "member d_sae"],
    values: Float[Tensor, " entries"],
    chosen: Chosen,
) -> Float[Tensor, " entries"]:
    """`values`, which are x W_enc + b_enc at the chosen entries, with their gradient towards `rows` and `bias`."""
    return _Encode.apply(x, rows, bias, values, chosen)  # type: ignore[return-value]


def decode(
    values: Float[Tensor, " entries"], rows: Float[Tensor, "member d_sae d_out"], chosen: Chosen
) -> Float[Tensor, "member batch d_out"]:
    """The sum of decoder `rows` weighted by `values`: f W_dec of the dense form."""
    return _Decode.apply(values, rows, chosen)  # type: ignore[return-value]


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, bias: Tensor, values: Tensor, chosen: Chosen) -> Tensor:
        del bias  # it is in the values already; only its gradient is wanted
        ctx.save_for_backward(x)
        ctx.chosen, ctx.shape = chosen, rows.shape
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        chosen: Chosen = ctx.chosen
        grad = grads[0].contiguous()
        member, _, d_sae = chosen.shape
        bags, table = chosen.by_latent, x.reshape(-1, x.shape[-1]) if x.stride(0) else x[0]
        if not x.stride(0):  # one batch that all members read: no copies of it
            bags = Bags(bags.start, bags.order, bags.other % x.shape[1])
        rows = bags.sums(table, grad).view(ctx.shape)
        bias = torch.zeros(member * d_sae, dtype=grad.dtype, device=grad.device).index_add_(0, chosen.latent, grad)
        return None, rows, bias.view(member, d_sae), None, None


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, chosen: Chosen) -> Tensor:
        ctx.save_for_backward(values, rows)
        ctx.chosen = chosen
        member, batch, _ = chosen.shape
        return chosen.by_token.sums(rows.flatten(0, 1), values).view(member, batch, rows.shape[-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, rows = ctx.saved_tensors
        chosen: Chosen = ctx.chosen
        grad = grads[0].reshape(-1, rows.shape[-1]).contiguous()
        of_values = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            grad, rows.flatten(0, 1), chosen.latent, chosen.by_token.start, chosen.token, 0
        )
        return of_values, chosen.by_latent.sums(grad, values.detach()).view(rows.shape), None


__all__ = ["Chosen", "choose", "decode", "encode", "refine"]
