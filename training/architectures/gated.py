"""Gated SAE (Rajamanoharan et al. 2024, arXiv 2404.16014): one path says whether a latent is active, another how much.

1. gate = x W_enc + b_gate; magnitude = x (W_enc e^r) + b_mag; f = [gate > 0] ReLU(magnitude).
2. The penalty is on ReLU(gate), so that magnitudes do not shrink.
3. A step has no gradient: the gate learns from an auxiliary reconstruction out of ReLU(gate).
4. The decoder learns from the squared error alone. The paper's has unit rows, so that the penalty cannot move it; here
   rows are free, and a penalty that reached them would shrink them step by step, magnitudes growing in return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.architectures import _dense, _shared
from training.architectures._contract import Given, Loss, Weights, each_alone
from training.plans import Affine, Plan

COEFFICIENT = 0.1
"""Where steering starts, for activations of unit mean square; k = 32 of 1,152 latents on SmolLM2 came to need 0.12."""

places = each_alone


@dataclass(frozen=True)
class Options:
    """Settings of the gated architecture."""

    coefficient: float | None = None
    """Weight of the penalty; when not given it is steered until k latents are active on average."""
    frozen: bool = True
    """Whether penalty and auxiliary reconstruction leave the decoder alone, as in the paper; in sae-lens they do not."""

    def __post_init__(self) -> None:
        _dense.check_positive(self, "coefficient")


def begin(plan: Plan, x: Tensor, y: Tensor) -> Weights:
    """First weights: latents at sampled activations, behind a sparse gate, magnitudes as they are."""
    weights, bound = _dense.begin_sparse(plan, x, y)
    zeros = weights.pop("b_enc")
    return weights | {"b_gate": zeros - bound, "b_mag": zeros, "r_mag": zeros.clone()}


def forward(weights: Weights, x: Tensor, y: Tensor, given: Given) -> Loss:
    """The squared error, the penalty under `sparsity`, and the gate's own reconstruction under `gate`."""
    product = torch.bmm(x, weights["W_enc"].transpose(1, 2))
    gate = product + weights["b_gate"][:, None]
    magnitude = product * weights["r_mag"].exp()[:, None] + weights["b_mag"][:, None]
    f, opened = (gate > 0) * magnitude.relu(), gate.relu()
    decoder = weights["W_dec"], weights["b_dec"]
    rows, bias = (w.detach() for w in decoder) if given.options.frozen else decoder
    penalty = (opened * rows.norm(dim=-1)[:, None]).sum(dim=-1).mean(dim=-1)
    extra = {
        "sparsity": given.coefficient * penalty,
        "gate": _dense.squared(_dense.write(opened, rows, bias) - y),
    }
    return _dense.loss_of(f, _dense.write(f, *decoder), y, extra)


def folded(weights: Weights, inward: Affine, outward: Affine) -> Weights:
    """`_shared.folded` with two biases: the magnitude's sees e^r times what the gate's sees."""
    out = _shared.folded(weights | {"b_enc": weights["b_gate"]}, inward, outward)
    out["b_gate"] = out.pop("b_enc")
    factor = _shared.fold_factor(weights["W_dec"], outward)
    stretch = weights["r_mag"].exp()
    out["b_mag"] = weights["b_mag"] * factor - stretch * (out["W_enc"] @ inward.mean)
    return out | {"r_mag": weights["r_mag"]}


def inference(weights: Weights, plan: Plan, x: Tensor, y: Tensor) -> Any:
    """sae-lens' gated dictionary."""
    del plan, x, y
    return _shared.as_sae_lens("gated", weights)
