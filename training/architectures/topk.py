"""TopK (Gao et al. 2024, arXiv 2406.04093): exactly the k largest latents of each token are active.

The class, its AuxK loss and its inference form are sae-lens' own; there is no threshold, so nothing to calibrate.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from torch import Tensor

from training.architectures._sae_lens import top_k_fields
from training.config import TrainConfig


def build(config: TrainConfig, d_model: int) -> TopKTrainingSAE:
    """A fresh dictionary in training, of width `config.latents`."""
    return TopKTrainingSAE(TopKTrainingSAEConfig(**top_k_fields(config, d_model)))


def calibrate(sae: Any, x: Float[Tensor, "tokens d_model"]) -> None:
    """Nothing: k is exact on every token."""
