"""The windows in which the latent fires most, strongest first.

What nearly all published explanations are made of; they say what a feature does at its strongest, and no more.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from autointerp.drawing import Share

Options = Share


def order(
    strength: Float[np.ndarray, " windows"], _generator: np.random.Generator, _: Options
) -> Int[np.ndarray, " windows"]:
    """All windows, strongest first; equals in the order of the text."""
    return np.argsort(-strength, kind="stable")
