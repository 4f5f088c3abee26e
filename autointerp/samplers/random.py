"""Active windows drawn uniformly: the strengths come as often as they do in text, which is mostly weak."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from autointerp.drawing import Share

Options = Share


def order(
    strength: Float[np.ndarray, " windows"], generator: np.random.Generator, _: Options
) -> Int[np.ndarray, " windows"]:
    """All windows in random order."""
    return generator.permutation(len(strength))
