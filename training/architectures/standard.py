"""Standard SAE with an L1 penalty (Cunningham et al. 2023, arXiv 2309.08600; Bricken et al. 2023), or Lp.

1. f = ReLU(x W_enc + b_enc); the loss is the squared error and coefficient x ||f||_p.
2. Each activation counts times the norm of its decoder row, so that nothing is gained by moving length from one to the
   other (Anthropic, April 2024 update, "How we train SAEs").
3. How many latents are active follows from the coefficient, which is steered until they are k (`training.stack`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.architectures import _dense, _shared
from training.architectures._contract import Given, Loss, Weights, each_alone
from training.plans import Plan

COEFFICIENT = 0.1
"""Where steering starts, for activations of unit mean square; k = 32 of 1,152 latents on SmolLM2 came to need 0.07."""

places = each_alone


@dataclass(frozen=True)
class Options:
    """Settings of the standard architecture."""

    p: float = 1.0
    """Exponent of the norm that is penalised: 1 is L1; below 1 large activations shrink less."""
    coefficient: float | None = None
    """Weight of the penalty; when not given it is steered until k latents are active on average."""

    def __post_init__(self) -> None:
        _dense.check_positive(self, "p", "coefficient")


def begin(plan: Plan, x: Tensor, y: Tensor) -> Weights:
    """First weights: latents at sampled activations, behind a bias that makes them sparse."""
    weights, bound = _dense.begin_sparse(plan, x, y)
    return weights | {"b_enc": weights["b_enc"] - bound}


def forward(weights: Weights, x: Tensor, y: Tensor, given: Given) -> Loss:
    """The squared error, and the penalty under the name `sparsity`."""
    f = _dense.read(x, weights["W_enc"], weights["b_enc"]).relu()
    written = _dense.write(f, weights["W_dec"], weights["b_dec"])
    weighted = f * weights["W_dec"].norm(dim=-1)[:, None]
    penalty = torch.linalg.vector_norm(weighted, given.options.p, dim=-1).mean(dim=-1)
    return _dense.loss_of(f, written, y, {"sparsity": given.coefficient * penalty})


def inference(weights: Weights, plan: Plan, x: Tensor, y: Tensor) -> Any:
    """sae-lens' standard dictionary; its bias is its threshold."""
    del plan, x, y
    return _shared.as_sae_lens("standard", weights)
