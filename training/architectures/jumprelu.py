"""JumpReLU SAE (Rajamanoharan et al. 2024, arXiv 2407.14435): f = z [z > threshold], with a threshold that is learnt.

1. z = x W_enc + b_enc. A step has no gradient: the threshold gets one from the tokens whose z is within half a
   bandwidth of it (straight-through estimators, sections 3 and 4).
2. The sparsity loss is one of `MODES`:
   `step`: the number of active latents (the paper);
   `tanh`: sum of tanh(scale x f x norm of the decoder row) (Anthropic, January 2025 update, "Dictionary learning
   optimization techniques");
   `target_l0`: 2/k x (active - k)^2 for each token (the quadratic loss of Gemma Scope 2).
3. Dead latents are drawn towards their threshold by a loss on threshold - z (Anthropic, the same update).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data.errors import unknown
from training.architectures import _dense, _shared
from training.architectures._contract import Given, Loss, Weights, each_alone
from training.plans import Plan

MODES = ("step", "tanh", "target_l0")
COEFFICIENT = 0.001
"""Where steering starts, for activations of unit mean square; k = 32 of 1,152 latents on SmolLM2 came to need 0.0014."""

places = each_alone


@dataclass(frozen=True)
class Options:
    """Settings of the JumpReLU architecture; lengths are in units of activations of unit mean square."""

    mode: str = "step"
    """The sparsity loss: step, tanh or target_l0."""
    coefficient: float | None = None
    """Weight of the sparsity loss; when not given it is steered until k latents are active on average."""
    bandwidth: float = 0.05
    """Width of the band around the threshold in which a step has a gradient: on SmolLM2 0.01 did as well, 0.2 worse."""
    threshold: float | None = None
    """Every latent's threshold at first; when not given, the one at which 2 k are active."""
    scale: float = 4.0
    """How steep the tanh is."""
    to_input: bool = False
    """Whether the estimated gradients go on to the encoder (Anthropic) or to the threshold alone (the paper)."""
    revive: float = 1e-3
    """Weight of the loss that draws dead latents towards their threshold; 0 leaves them dead."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown("mode of jumprelu", self.mode, MODES)
        _dense.check_positive(self, "coefficient", "bandwidth", "threshold", "scale")


def begin(plan: Plan, x: Tensor, y: Tensor) -> Weights:
    """First weights: latents at sampled activations, each with the same threshold."""
    weights, bound = _dense.begin_sparse(plan, x, y)
    first = plan.options.threshold
    return weights | {"threshold": torch.full_like(weights["b_enc"], bound if first is None else first)}


def forward(weights: Weights, x: Tensor, y: Tensor, given: Given) -> Loss:
    """The squared error, the sparsity loss under `sparsity`, and what revives under `revive`."""
    options, threshold = given.options, weights["threshold"]
    with torch.no_grad():
        threshold.clamp_(min=0)  # below 0 it would let negative z pass; clamped in the graph it could never come back
    z = _dense.read(x, weights["W_enc"], weights["b_enc"])
    f = _Jump.apply(z, threshold, options.bandwidth, options.to_input)
    assert isinstance(f, Tensor)
    norms = weights["W_dec"].norm(dim=-1)
    extra = {"sparsity": given.coefficient * _sparsity(z, f, norms, threshold, given).mean(dim=-1)}
    if given.dead is not None and options.revive:
        below = (threshold[:, None] - z).relu() * (given.dead * norms)[:, None]
        extra["revive"] = options.revive * below.sum(dim=-1).mean(dim=-1)
    return _dense.loss_of(f, _dense.write(f, weights["W_dec"], weights["b_dec"]), y, extra)


def _sparsity(z: Tensor, f: Tensor, norms: Tensor, threshold: Tensor, given: Given) -> Float[Tensor, "member batch"]:
    options = given.options
    if options.mode == "tanh":
        return (options.scale * f * norms[:, None]).tanh().sum(dim=-1)
    on = _Step.apply(z, threshold, options.bandwidth, options.to_input)
    assert isinstance(on, Tensor)
    active = on.sum(dim=-1)
    if options.mode == "step":
        return active
    k = torch.tensor(given.k, device=z.device)[:, None]
    return 2 / k * (active - k).square()


def inference(weights: Weights, plan: Plan, x: Tensor, y: Tensor) -> Any:
    """sae-lens' JumpReLU dictionary with the thresholds that were learnt."""
    del plan, x, y
    return _shared.as_sae_lens("jumprelu", weights | {"threshold": weights["threshold"].clamp(min=0)})


def _near(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """1 / bandwidth where z is within half a bandwidth of its threshold: the kernel of the estimators."""
    return ((z - threshold[:, None]).abs() < bandwidth / 2) / bandwidth


class _Step(torch.autograd.Function):
    """[z > threshold]."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float, to_input: bool) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth, ctx.to_input = bandwidth, to_input
        return (z > threshold[:, None]).to(z)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        z, threshold = ctx.saved_tensors
        estimate = _near(z, threshold, ctx.bandwidth) * grads[0]
        return estimate if ctx.to_input else None, -estimate.sum(dim=1), None, None


class _Jump(torch.autograd.Function):
    """z [z > threshold]."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float, to_input: bool) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth, ctx.to_input = bandwidth, to_input
        return z * (z > threshold[:, None])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        z, threshold = ctx.saved_tensors
        estimate = threshold[:, None] * _near(z, threshold, ctx.bandwidth) * grads[0]
        through = grads[0] * (z > threshold[:, None])
        return through + estimate if ctx.to_input else through, -estimate.sum(dim=1), None, None
