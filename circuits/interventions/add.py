"""A value is added to every node: the stream moves along its decoder direction (steering by a latent)."""

from __future__ import annotations

from torch import Tensor

from circuits.interventions import Seen

AMOUNT = "the value to add along its decoder direction"
REFERENCE = None
WHOLE = False


def changed(seen: Seen, amount: float) -> Tensor:
    """The raised value [rows pos coordinates]."""
    return seen.value + amount
