"""The value on another pair's counterfactual prompt, drawn at random, at the corresponding position.

Causal scrubbing's resampling (Chan et al. 2022). Where that prompt has no such position, its mean over all prompts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from circuits.references import Seen, mean_by

PAIRED = False


def reference(seen: Seen) -> Tensor:
    """Another row's value [batch pos coordinates]."""
    rows, keys = len(seen.clean), int(seen.column.max()) + 1
    table = mean_by(seen.counterfactual, seen.column).expand(rows, -1, -1).clone()
    row, position = (seen.column >= 0).nonzero(as_tuple=True)
    table[row, seen.column[row, position]] = seen.counterfactual[row, position]
    assert table.shape[1] == keys
    other = _another(rows, seen.seed)
    return table[other].gather(1, seen.column.clamp_min(0)[..., None].expand(-1, -1, table.shape[-1]))


def _another(rows: int, seed: int) -> Tensor:
    """For each row another one, at random: the next in a shuffled circle."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other
