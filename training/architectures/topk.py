"""TopK (Gao et al. 2024, arXiv 2406.04093): exactly the k largest latents of each token are active.

There is no threshold, so nothing to set at the end.
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
forward = functools.partial(_topk.forward, select=_topk.largest_of_each)


def inference(weights: Weights, plan: Plan, x: Tensor, y: Tensor) -> Any:
    """sae-lens' TopK dictionary."""
    del x, y
    return _shared.as_sae_lens("topk", weights, k=int(plan.k), rescale_acts_by_decoder_norm=False)
