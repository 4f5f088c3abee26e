"""BatchTopK (Bussmann, Leask & Nanda 2024, arXiv 2412.06410): k active latents per token *on average over a batch*.

1. The pre-activations of a whole batch are ranked together; the largest k x batch survive.
2. Dead latents predict the residual (AuxK; Gao et al. 2024, arXiv 2406.04093, appendix A.2), weighted 1/32 as there.
3. For use on single tokens, one threshold takes the place of the ranking: the dictionary becomes a JumpReLU one.

The class is sae-lens' own. Replaced are the ranking of the flattened batch by an exact selection among candidates and
AuxK's full-width products by those over dead latents alone (same values, a fraction of the time), and the running
average of the threshold (biased towards 0 in short runs) by `calibrate`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.sae import TrainStepInput
from torch import Tensor
from torch.nn import functional

from training.architectures._sae_lens import top_k_fields
from training.config import TrainConfig

STRIDE = 61
"""One in so many pre-activations is looked at to find candidates; a prime, so that it walks over all latents."""
MARGIN = 1.2
"""Candidates wanted, as a multiple of the survivors: the sample's quantile is seldom off by more than that."""


class CalibratedBatchTopK(BatchTopKTrainingSAE):
    """sae-lens' BatchTopK with a quicker ranking and AuxK, and a threshold that is set once, at the end."""

    def get_activation_fn(self) -> Callable[[Tensor], Tensor]:
        return lambda pre: keep_largest(pre, int(self.cfg.k * pre[..., 0].numel()))

    def calculate_aux_loss(
        self, step_input: TrainStepInput, feature_acts: Tensor, hidden_pre: Tensor, sae_out: Tensor
    ) -> dict[str, Tensor]:
        """AuxK: squared error of the residual as told by the d_model/2 dead latents that respond most to each token."""
        del feature_acts  # sae-lens' signature has it
        dead = step_input.dead_neuron_mask
        if dead is None or not len(index := dead.nonzero()[:, 0]):
            return {"auxiliary_reconstruction_loss": sae_out.new_zeros(())}
        most = self.cfg.d_in // 2
        told = revived(hidden_pre[:, index], most) @ functional.normalize(self.W_dec[index], dim=-1)
        residual = (step_input.sae_in - sae_out).detach()
        weight = self.cfg.aux_loss_coefficient * min(1.0, len(index) / most)
        return {"auxiliary_reconstruction_loss": weight * (told - residual).square().sum(dim=-1).mean()}

    def update_topk_threshold(self, acts_topk: Tensor) -> None:
        """Nothing: `calibrate` sets the threshold after training."""


def build(config: TrainConfig, d_model: int) -> BatchTopKTrainingSAE:
    """A fresh dictionary in training, of width `config.latents`."""
    return CalibratedBatchTopK(BatchTopKTrainingSAEConfig(**top_k_fields(config, d_model)))


def calibrate(sae: Any, x: Float[Tensor, "tokens d_model"]) -> float:
    """Sets the threshold at which `sae` has k active latents per token of `x` on average; returns it."""
    with torch.no_grad():
        _, pre = sae.encode_with_hidden_pre(x)
    threshold = smallest_kept(pre, int(sae.cfg.k * len(x)))
    sae.topk_threshold.fill_(threshold)
    return float(threshold)


def revived(pre: Float[Tensor, "batch dead"], most: int) -> Float[Tensor, "batch dead"]:
    """`pre` where it is among each row's `most` largest, 0 elsewhere."""
    if pre.shape[1] <= most:
        return pre
    largest = pre.topk(most, dim=-1)
    return torch.zeros_like(pre).scatter(-1, largest.indices, largest.values)


def keep_largest(pre: Float[Tensor, "... d_sae"], count: int) -> Float[Tensor, "... d_sae"]:
    """`pre` where it is positive and among the `count` largest of all, 0 elsewhere (more only when values tie)."""
    threshold = smallest_kept(pre.detach(), count)
    return torch.where((pre >= threshold) & (pre > 0), pre, 0)


def smallest_kept(pre: Float[Tensor, "... d_sae"], count: int) -> Float[Tensor, ""]:
    """The `count`-th largest of all values, by ranking only those above a quantile of a sample."""
    flat = pre.flatten()
    sample = flat[::STRIDE]
    rank = sample.numel() - int(MARGIN * count / STRIDE) - 1
    if rank > 0:
        candidates = flat[flat >= sample.kthvalue(rank).values]
        if len(candidates) >= count:
            return candidates.kthvalue(len(candidates) - count + 1).values
    return flat.kthvalue(flat.numel() - count + 1).values
