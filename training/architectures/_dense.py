"""What the architectures share that compute every latent of every token: batched products, and a sparse start.

1. `begin_sparse` starts as `_shared.begin` does, with a bias at which `START` x k latents are active on average: from
   half of all latents, which is where a bias of 0 starts, the sparsity loss first has to fall for hundreds of steps.
2. `read` and `write` are the two affine maps of all members at once.
3. `loss_of` is what all losses have in common.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from data.errors import Mistake
from training.architectures import _shared, _topk
from training.architectures._contract import Loss, Weights
from training.plans import Plan

START = 2.0
"""Times k: how many latents are active at first. Some fall silent at once; there is room for them."""


def begin_sparse(
    plan: Plan, x: Float[Tensor, "tokens d_in"], y: Float[Tensor, "tokens d_out"]
) -> tuple[Weights, float]:
    """First weights of an SAE, and the pre-activation beyond which `START` x k of them are active on average."""
    weights = _shared.begin(plan, x, y)
    wanted = min(START * plan.k, plan.latents / 2)
    return weights, _topk.threshold(_shared.pre_activations(weights, x), wanted)


def read(
    x: Float[Tensor, "member batch d_in"], rows: Float[Tensor, "member d_sae d_in"], bias: Float[Tensor, "member d_sae"]
) -> Float[Tensor, "member batch d_sae"]:
    """x W_enc + b_enc."""
    return torch.baddbmm(bias[:, None], x, rows.transpose(1, 2))


def write(
    f: Float[Tensor, "member batch d_sae"],
    rows: Float[Tensor, "member d_sae d_out"],
    bias: Float[Tensor, "member d_out"],
) -> Float[Tensor, "member batch d_out"]:
    """f W_dec + b_dec."""
    return torch.baddbmm(bias[:, None], f, rows)


def squared(difference: Float[Tensor, "member batch d_out"]) -> Float[Tensor, " member"]:
    """Mean over tokens of the squared length."""
    return difference.square().sum(dim=-1).mean(dim=-1)


def loss_of(
    f: Float[Tensor, "member batch d_sae"], written: Tensor, y: Tensor, extra: Mapping[str, Float[Tensor, " member"]]
) -> Loss:
    """The loss of activations `f` that are decoded to `written`."""
    on = f.detach() > 0
    return Loss(squared(written - y), on.sum(dim=(1, 2)) / f.shape[1], on.any(dim=1), extra)


def check_positive(options: object, *names: str) -> None:
    """Raises `Mistake` when a setting of an architecture is given and not above 0."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise Mistake(f"{name} = {value} is too small; it must be above 0.")
