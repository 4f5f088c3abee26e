"""How sure a score is: it is computed again with documents drawn with replacement.

1. Trials of one document are not independent, so documents are drawn, not trials (the cluster bootstrap; Davison and
   Hinkley 1997, section 3.8). A draw is a weight for each trial: how often its document was drawn.
2. A statistic is a function of such weights. The same draws serve explanation and control, so their difference is paired.
3. Intervals are percentiles of the draws, farther out where documents are few (`data.intervals`): those of an AUROC of ten
   windows would hold the truth in 90 % of cases. Draws in which a statistic is not defined (NaN) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from data.intervals import expanded_tail
from data.words import Estimate

RESAMPLES = 1000


@dataclass(frozen=True)
class Comparison:
    """A score of an explanation, of its control on the same trials (None without one), and their difference."""

    value: Estimate
    control: Estimate | None
    difference: Estimate | None


def weights(documents: Int[np.ndarray, " trials"], seed: int) -> Float[np.ndarray, "draws trials"]:
    """How often each trial counts: once each in the first row, in the others as often as its document was drawn."""
    names, which = np.unique(documents, return_inverse=True)
    generator = np.random.default_rng(seed)
    times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    return np.concatenate([np.ones((1, len(documents))), times[:, which]])


def estimate(draws: Float[np.ndarray, " draws"], drawn_from: int) -> Estimate:
    """The first of `draws` with the interval that the others give, which were `drawn_from` so many documents."""
    tail = expanded_tail(drawn_from)
    drawn = draws[1:][~np.isnan(draws[1:])]
    lower, upper = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (np.nan, np.nan)
    return Estimate(float(draws[0]), float(lower), float(upper))


def compared(draws: Float[np.ndarray, "texts draws"], drawn_from: int) -> Comparison:
    """The first text's score, the second's if there is one, and their difference."""
    if len(draws) == 1:
        return Comparison(estimate(draws[0], drawn_from), None, None)
    return Comparison(*(estimate(row, drawn_from) for row in (draws[0], draws[1], draws[0] - draws[1])))


def clusters(documents: Int[np.ndarray, " trials"]) -> int:
    """How many documents trials are of."""
    return len(np.unique(documents))
