"""The mean over the counterfactual prompts at the corresponding position (arXiv 2403.19647, section 3.3).

Positions correspond when they are the same token of the same role. Without counterfactuals, the clean prompts' mean.
"""

from __future__ import annotations

from torch import Tensor

from circuits.references import Seen, mean_by

PAIRED = False


def reference(seen: Seen) -> Tensor:
    """The mean by column [batch pos coordinates]."""
    return mean_by(seen.counterfactual, seen.column)[seen.column.clamp_min(0)]
