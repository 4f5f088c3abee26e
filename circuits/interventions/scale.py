"""Every node's value times a factor: 0 removes it, 1 leaves it, -1 turns its sign."""

from __future__ import annotations

from torch import Tensor

from circuits.interventions import Seen

AMOUNT = "the factor"
REFERENCE = None
WHOLE = True


def changed(seen: Seen, amount: float) -> Tensor:
    """The scaled value [rows pos coordinates]."""
    return amount * seen.value
