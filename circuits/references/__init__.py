"""What a node is set to when it is out of the circuit. One file each.

A part has `reference(seen)`, which gives the reference value [batch pos coordinates] of every pair's prompt, and
`PAIRED`, whether it needs a counterfactual prompt. The same rule is used for a dictionary's latents and for its error.
Which rule is chosen changes what a circuit is (arXiv 2407.08734), so it is stored with every run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Seen:
    """What was read at a site: `clean` and, aligned to it, `counterfactual`; `place` of each position, -1 for padding."""

    clean: Float[Tensor, "batch pos coordinates"]
    counterfactual: Float[Tensor, "batch pos coordinates"]
    place: Int[Tensor, "batch pos"]
    column: Int[Tensor, "batch pos"]
    """Which positions of different prompts correspond: their count within the role, after that role's number."""
    seed: int


def mean_by(values: Float[Tensor, "batch pos width"], key: Int[Tensor, "batch pos"]) -> Float[Tensor, "keys width"]:
    """The mean of `values` over all positions with the same non-negative key."""
    inside: Bool[Tensor, "batch pos"] = key >= 0
    keys = int(key.max()) + 1
    total = torch.zeros(keys, values.shape[-1]).index_add(0, key[inside], values[inside])
    return total / torch.bincount(key[inside], minlength=keys).clamp_min(1)[:, None]
