"""Active windows drawn one after another with probability in proportion to their strength, without replacement.

1. A window's key is an exponential variable divided by its strength; the smallest keys come first. That is the same as
   drawing one window after another in proportion to strength among those that are left (Efraimidis and Spirakis 2006,
   Information Processing Letters 97, algorithm A in its logarithmic form).

`top,importance` is how SAEBench (Karvonen et al. 2025, arXiv:2503.09532) draws: the top, and by importance below it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from autointerp.drawing import Share

Options = Share


def order(
    strength: Float[np.ndarray, " windows"], generator: np.random.Generator, _: Options
) -> Int[np.ndarray, " windows"]:
    """All windows, as drawn."""
    return np.argsort(generator.exponential(size=len(strength)) / strength, kind="stable")
