"""BatchTopK (Bussmann, Leask & Nanda 2024, arXiv 2412.06410): k active latents per token *on average over a batch*.

1. The pre-activations of a whole batch are ranked together; the largest k x batch survive.
2. Dead latents predict the residual (`_topk`).
3. For use on single tokens one threshold takes the place of the ranking: the dictionary becomes a JumpReLU one. It is
   set on text that was not trained on, where sae-lens keeps a running average that is biased towards 0 in short runs.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from training.architectures import _shared, _topk
from training.architectures._contract import Weights, each_alone
from training.plans import Plan

Options = _topk.Options
places = each_alone
begin = _shared.begin
forward = functools.partial(_topk.forward, select=_topk.largest_of_all)


def inference(weights: Weights, plan: Plan, x: Tensor, y: Tensor) -> Any:
    """A JumpReLU dictionary with k latents per token of `x` active on average."""
    del y
    bound = _topk.threshold(_shared.pre_activations(weights, x), plan.k)
    threshold = weights["b_enc"].new_full((plan.latents,), bound)
    return _shared.as_sae_lens("jumprelu", weights | {"threshold": threshold})
