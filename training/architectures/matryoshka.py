"""Matryoshka SAE (Bussmann et al. 2025, arXiv 2503.17547): the first latents alone must already reconstruct.

1. BatchTopK over all latents (`batchtopk`).
2. The survivors of each nested part are summed apart: one sparse product gives them all, their running sum is what the
   first 1/16, the first 1/4, ... of the latents write.
3. The loss is the sum of the parts' squared errors, and AuxK on the residual of the whole.

General features are kept in the first latents, where splitting them does not pay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from data.errors import Mistake
from training.architectures import _shared, _topk, batchtopk
from training.architectures._contract import Given, Loss, Weights, each_alone
from training.sparse import Chosen, decode, refine

WIDTHS = "1/16+1/8+1/4+1/2+1"

places = each_alone
begin = _shared.begin
inference = batchtopk.inference


@dataclass(frozen=True)
class Options(_topk.Options):
    """Settings of the Matryoshka architecture."""

    widths: str = WIDTHS
    """The nested parts as shares of all latents, joined by +, rising to 1."""

    def __post_init__(self) -> None:
        self.shares()

    def shares(self) -> list[Fraction]:
        """The parts; raises `Mistake` unless they rise from above 0 to 1."""
        try:
            found = [Fraction(piece) for piece in self.widths.split("+")]
        except (ValueError, ZeroDivisionError) as error:
            raise Mistake(f"widths = {self.widths!r} should be shares joined by +, such as {WIDTHS}.") from error
        if sorted(set(found)) != found or found[0] <= 0 or found[-1] != 1:
            raise Mistake(f"widths = {self.widths!r} should rise from above 0 to 1, such as {WIDTHS}.")
        return found


def forward(weights: Weights, x: Tensor, y: Tensor, given: Given) -> Loss:
    """The squared error of all latents, AuxK, and the errors of the inner parts under `first_N`."""
    ends = widths(given.options, weights["W_dec"].shape[1])
    found = _topk.encoded(weights, x, _topk.largest_of_all, given)
    apart = decode(found.values, weights["W_dec"], _apart(found.chosen, ends))
    nested = apart.view(*x.shape[:2], len(ends), -1).cumsum(dim=2) + weights["b_dec"][:, None, None]
    loss = _topk.loss_of(x, y, nested[:, :, -1], found=found, given=given)
    inner = (nested[:, :, :-1] - y[:, :, None]).square().sum(dim=-1).mean(dim=1)
    named = {f"first_{end}": error for end, error in zip(ends, inner.unbind(dim=1), strict=False)}
    return replace(loss, extra={**loss.extra, **named})


def widths(options: Options, latents: int) -> list[int]:
    """How many latents each part has; a share so small that it has none, or as many as the one before, is left out."""
    ends = {round(share * latents) for share in options.shares()}
    return sorted(ends - {0})


def _apart(chosen: Chosen, ends: list[int]) -> Chosen:
    """`chosen` with each token taken apart into as many as there are parts; flat order has them side by side."""
    bounds = torch.tensor(ends, device=chosen.latent.device)
    part = torch.searchsorted(bounds, chosen.latent % chosen.shape[2], right=True)
    return refine(chosen, part, len(ends))
