"""The value on the pair's own counterfactual prompt, at the corresponding position."""

from __future__ import annotations

from torch import Tensor

from circuits.references import Seen

PAIRED = True


def reference(seen: Seen) -> Tensor:
    """The counterfactual value [batch pos coordinates]."""
    return seen.counterfactual
