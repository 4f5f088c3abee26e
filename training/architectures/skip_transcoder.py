"""Skip transcoder (Paulo, Shabalin & Belrose 2025, arXiv 2501.18823): a transcoder beside a linear map.

1. y is told by the latents' decoder rows and by W_skip x (section 3): what is linear in an MLP needs no latent.
2. The map starts as the least-squares fit of y to x, and the latents are fitted to what it leaves. From zero, as in the
   paper, it is still behind after 150 steps at SmolLM2's MLP 15: explained variance 0.68 against 0.71.
3. The rest is as in `transcoder`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.architectures import _across, _shared, _topk
from training.architectures._contract import Given, Loss, Weights
from training.plans import Affine, Plan
from training.sparse import decode

Options = _topk.Options
places = _across.places

RIDGE = 0.01
"""Of the fit of y to x, times the mean variance of x: so few directions are fitted to noise."""


def begin(plan: Plan, x: Tensor, y: Tensor) -> Weights:
    """First weights: the linear fit of y to x, and a transcoder for the rest."""
    skip = _across.fitted(x, y, ridge=RIDGE)
    return _across.begin(plan, x, y - x @ skip) | {"W_skip": skip.T.contiguous()}


def forward(weights: Weights, x: Tensor, y: Tensor, given: Given) -> Loss:
    """The squared error of what latents and skip write together, and AuxK."""
    found = _topk.encoded(weights, x, _topk.largest_of_all, given)
    skipped = torch.baddbmm(weights["b_dec"][:, None], x, weights["W_skip"].transpose(1, 2))
    return _topk.loss_of(x, y, decode(found.values, weights["W_dec"], found.chosen) + skipped, found=found, given=given)


def folded(weights: Weights, inward: Affine, outward: Affine) -> Weights:
    """`_shared.folded`, with the skip in raw units: it sees raw - mean, so b_dec takes back what the mean adds."""
    out = _shared.folded(weights, inward, outward)
    skip = weights["W_skip"] * inward.scale / outward.scale[:, None]
    return out | {"W_skip": skip, "b_dec": out["b_dec"] - skip @ inward.mean}


def inference(weights: Weights, plan: Plan, x: Tensor, y: Tensor) -> Any:
    """A JumpReLU skip transcoder with k latents per token of `x` active on average."""
    del y
    return _across.jumping("jumprelu_skip_transcoder", weights, plan, x)
