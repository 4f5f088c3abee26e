"""Every node is held at one value, wherever it is reached, silent or not."""

from __future__ import annotations

import torch
from torch import Tensor

from circuits.interventions import Seen

AMOUNT = "the value to hold it at"
REFERENCE = None
WHOLE = False


def changed(seen: Seen, amount: float) -> Tensor:
    """The value itself [rows pos coordinates]."""
    return torch.full_like(seen.value, amount)
