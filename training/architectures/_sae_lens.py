"""What all architectures share: one call of sae-lens' loss, and the fields of its TopK family's configs.

`loss_of` is sae-lens' `training_forward_pass`: mean over tokens of the squared error, plus what the architecture adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float
from sae_lens.saes.sae import TrainStepInput
from torch import Tensor

from training.config import TrainConfig

AUXILIARY = 1 / 32
"""Weight of the loss that revives dead latents (Gao et al. 2024, arXiv 2406.04093, appendix A.2)."""


@dataclass(frozen=True)
class Loss:
    """A loss to be minimised, with its parts."""

    total: Tensor
    error: Tensor
    """Mean over tokens of the squared distance between activation and reconstruction."""
    active: Float[Tensor, "batch d_sae"]
    """The latents' activations."""


def loss_of(sae: Any, x: Float[Tensor, "batch d_model"], *, dead: Bool[Tensor, " d_sae"] | None, step: int) -> Loss:
    """The training loss of `sae` on activations `x`; the auxiliary loss, if it has one, revives `dead` latents."""
    given = TrainStepInput(
        sae_in=x, coefficients={}, dead_neuron_mask=dead, n_training_steps=step, is_logging_step=False
    )
    out = sae.training_forward_pass(given)
    return Loss(out.loss, out.losses["mse_loss"], out.feature_acts)


def top_k_fields(config: TrainConfig, d_model: int) -> dict[str, Any]:
    """The fields that sae-lens' TopK and BatchTopK configs share."""
    return {
        "d_in": d_model,
        "d_sae": config.latents,
        "k": config.k,
        "aux_loss_coefficient": AUXILIARY,
        "decoder_init_norm": 1.0,
        "apply_b_dec_to_input": False,  # training data are centred; one matrix product of six is saved
    }
