"""How well judgements tell active windows from silent ones, and how sure that is.

1. AUROC = P(judgement of an active window > that of a silent one) + half the probability of a tie (Hanley and McNeil
   1982): 0.5 is chance, whatever the share of active windows.
2. The control is the AUROC of another feature's explanation on the same windows; what counts is the difference.
3. Intervals are bootstrap percentiles over documents (`bootstrap.py`). Where active and silent windows are parted wholly,
   each draw parts them too, and a bootstrap would be sure of 1: there the bounds are Newcombe's (2006, Statistics in
   Medicine 25, method 5), a score interval of the AUROC, with documents for trials; and the difference's are put together
   from those of its two parts (Zou and Donner 2008, Statistics in Medicine 27).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import root_scalar

from autointerp.bootstrap import Comparison, clusters, compared, weights
from data.intervals import LEVEL
from data.words import Estimate


def auroc(judgements: Float[np.ndarray, " windows"], truth: Bool[np.ndarray, " windows"]) -> float:
    """The area under the ROC curve; NaN when one of the two kinds is missing."""
    return float(weighted_auroc(judgements, truth, np.ones((1, len(truth))))[0])


def weighted_auroc(
    judgements: Float[np.ndarray, " windows"],
    truth: Bool[np.ndarray, " windows"],
    drawn: Float[np.ndarray, "draws windows"],
) -> Float[np.ndarray, " draws"]:
    """The AUROC for each row of window weights; NaN where one of the two kinds has no weight."""
    active, silent = drawn[:, truth], drawn[:, ~truth]
    total = active.sum(1) * silent.sum(1)
    won = np.einsum("ra,as,rs->r", active, _kernel(judgements, truth), silent, optimize=True)
    return np.divide(won, total, out=np.full(len(won), np.nan), where=total > 0)


def compare(
    judgements: Float[np.ndarray, " windows"],
    control: Float[np.ndarray, " windows"] | None,
    truth: Bool[np.ndarray, " windows"],
    documents: Int[np.ndarray, " windows"],
    *,
    seed: int,
) -> Comparison:
    """Value, control and difference with their intervals."""
    drawn = weights(documents, seed)
    rows = [judgements] if control is None else [judgements, control]
    draws = np.stack([weighted_auroc(row, truth, drawn) for row in rows])
    return parted(compared(draws, clusters(documents)), truth, documents)


def parted(
    found: Comparison, truth: Bool[np.ndarray, " windows"], documents: Int[np.ndarray, " windows"]
) -> Comparison:
    """`found` with bounds that hold where windows are parted wholly."""
    counts = [clusters(documents[sort]) for sort in (truth, ~truth)]
    value = _bounded(found.value, counts)
    control = found.control and _bounded(found.control, counts)
    if (value, control) == (found.value, found.control) or control is None:
        return Comparison(value, control, found.difference)
    difference = value.value - control.value
    below = math.hypot(value.value - value.lower, control.upper - control.value)
    above = math.hypot(value.upper - value.value, control.value - control.lower)
    return Comparison(value, control, Estimate(difference, difference - below, difference + above))


def _bounded(found: Estimate, counts: list[int]) -> Estimate:
    if found.value not in (0, 1):
        return found
    far = newcombe(*counts)
    return Estimate(1.0, far, 1.0) if found.value == 1 else Estimate(0.0, 0.0, 1 - far)


def newcombe(active: int, silent: int) -> float:
    """The lower bound of an AUROC that was found to be 1: where 1 - theta = z sd(theta), by Newcombe's method 5."""
    z, half = NormalDist().inv_cdf((1 + LEVEL) / 2), (active + silent) / 2 - 1

    def far(theta: float) -> float:
        spread = 1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)
        return (1 - theta) - z * z * theta * spread / (active * silent)

    return float(root_scalar(far, bracket=(0, 1)).root)


def _kernel(judgements: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """1 where an active window [rows] is judged above a silent one [columns], one half where they tie."""
    active, silent = judgements[truth][:, None], judgements[~truth][None]
    return (active > silent) + 0.5 * (active == silent)
