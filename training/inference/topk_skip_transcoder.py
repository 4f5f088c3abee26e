"""TopK transcoder with a skip connection (Paulo, Shabalin & Belrose 2025, arXiv 2501.18823, section 3).

f = TopK(ReLU(x W_enc + b_enc)), y' = f W_dec + b_dec + x W_skip^T. Without a skip connection W_skip is zero.
sae-lens has transcoders with ReLU and JumpReLU alone; this one is its skip transcoder with k latents kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, no_type_check

from sae_lens.saes.topk_sae import TopK
from sae_lens.saes.transcoder import SkipTranscoder, SkipTranscoderConfig
from torch import Tensor


@no_type_check  # sae-lens makes a config with a mapping for its metadata, which it replaces at once
@dataclass
class TopKSkipTranscoderConfig(SkipTranscoderConfig):
    """sae-lens' config of a skip transcoder, and `k`."""

    k: int = 32

    @classmethod
    def architecture(cls) -> str:
        return "topk_skip_transcoder"

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"k": self.k}


class TopKSkipTranscoder(SkipTranscoder):
    """sae-lens' skip transcoder that keeps the k largest latents of each token."""

    cfg: TopKSkipTranscoderConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def get_activation_fn(self) -> Callable[[Tensor], Tensor]:
        return TopK(self.cfg.k)


CLASS, CONFIG = TopKSkipTranscoder, TopKSkipTranscoderConfig
