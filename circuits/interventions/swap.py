"""Every node takes its value on the counterfactual prompt: interchange (Geiger et al. 2021, arXiv 2106.02997)."""

from __future__ import annotations

from torch import Tensor

from circuits.interventions import Seen

AMOUNT = None
REFERENCE = "counterfactual"
WHOLE = True


def changed(seen: Seen, amount: float) -> Tensor:  # noqa: ARG001
    """The counterfactual value [rows pos coordinates]."""
    return seen.reference
