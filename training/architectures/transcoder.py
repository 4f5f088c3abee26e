"""Transcoder (Dunefsky, Chlenski & Nanda 2024, arXiv 2406.11944): reads what an MLP reads, writes what it writes.

1. BatchTopK over the latents of x = mlp_in (`batchtopk`); the target is y = mlp_out.
2. Dead latents predict the residual of y (`_topk`).
3. One threshold is set on text that was not trained on: sae-lens' JumpReLU transcoder.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from training.architectures import _across, _topk
from training.architectures._contract import Weights
from training.plans import Plan

Options = _topk.Options
places = _across.places
begin = _across.begin
forward = functools.partial(_topk.forward, select=_topk.largest_of_all)


def inference(weights: Weights, plan: Plan, x: Tensor, y: Tensor) -> Any:
    """A JumpReLU transcoder with k latents per token of `x` active on average."""
    del y
    return _across.jumping("jumprelu_transcoder", weights, plan, x)
