"""Active windows drawn equally from strata of strength of equal counts, strongest stratum first.

1. Windows are ranked by strength and cut into strata of equal counts (the quantiles of Paulo et al. 2024,
   arXiv:2410.13928).
2. Each stratum is shuffled, and they give one window each in turn, so that however many are taken, no stratum has given
   two more than another that still has some.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from autointerp.drawing import Share
from autointerp.windows import STRATA
from data.errors import Mistake


@dataclass(frozen=True)
class Options(Share):
    """How many windows come from here, and from how many strata."""

    strata: int = STRATA
    """Strata of strength."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strata < 1:
            raise Mistake(f"strata of the quantile sampler is {self.strata}; it must be at least 1.")


def order(
    strength: Float[np.ndarray, " windows"], generator: np.random.Generator, options: Options
) -> Int[np.ndarray, " windows"]:
    """All windows, one of each stratum in turn."""
    ranked = np.argsort(-strength, kind="stable")
    pieces = np.array_split(ranked, options.strata)
    shuffled = np.concatenate([generator.permutation(piece) for piece in pieces])
    turn = np.concatenate([np.arange(len(piece)) for piece in pieces])
    return shuffled[np.argsort(turn, kind="stable")]
