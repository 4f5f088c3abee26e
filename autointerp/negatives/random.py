"""Silent windows drawn uniformly: what text is like where the latent does not fire.

The easy negatives: they tell how often a judge is wrong in text at large, and not whether it sees what is particular.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from autointerp.drawing import Amount
from autointerp.places import Places
from autointerp.windows import Window

Options = Amount
MOST = 2000
"""Places drawn at the most, of which those that repeat a text are passed over."""


def order(
    places: Places, _active: Sequence[Window], generator: np.random.Generator, _: Amount
) -> Int[np.ndarray, " drawn"]:
    """Silent places in random order."""
    return generator.choice(places.silent, min(len(places.silent), MOST), replace=False)
