"""Every node takes its reference value: what it carries of the clean prompt is gone (arXiv 2403.19647, section 3.1)."""

from __future__ import annotations

from torch import Tensor

from circuits.interventions import Seen

AMOUNT = None
REFERENCE = None
WHOLE = True


def changed(seen: Seen, amount: float) -> Tensor:  # noqa: ARG001
    """The reference value [rows pos coordinates]."""
    return seen.reference
