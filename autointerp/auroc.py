"""How well judgements tell active windows from silent ones, and how sure that is.

1. AUROC = P(judgement of an active window > that of a silent one) + half the probability of a tie (Hanley and McNeil
   1982): 0.5 is chance, whatever the share of active windows.
2. The control is the AUROC of another feature's explanation on the same windows; what counts is the difference.
3. Intervals are bootstrap percentiles over documents (windows of a document are not independent): the same resampled
   documents serve value, control and difference, so the difference is paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from data.words import Estimate

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """AUROC of an explanation, of its control on the same windows (None without one), and their difference."""

    value: Estimate
    control: Estimate | None
    difference: Estimate | None


def auroc(judgements: Float[np.ndarray, " windows"], truth: Bool[np.ndarray, " windows"]) -> float:
    """The area under the ROC curve; NaN when one of the two kinds is missing."""
    return float(_weighted(_kernel(judgements, truth), truth, np.ones((1, len(truth))))[0])


def compare(
    judgements: Float[np.ndarray, " windows"],
    control: Float[np.ndarray, " windows"] | None,
    truth: Bool[np.ndarray, " windows"],
    documents: Int[np.ndarray, " windows"],
    *,
    seed: int,
) -> Comparison:
    """Value, control and difference with their intervals."""
    weights = _resample(documents, seed)
    value = _both(judgements, truth, weights)
    if control is None:
        return Comparison(_estimate(value), None, None)
    other = _both(control, truth, weights)
    return Comparison(_estimate(value), _estimate(other), _estimate(value - other))


def _kernel(judgements: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """1 where an active window [rows] is judged above a silent one [columns], one half where they tie."""
    active, silent = judgements[truth][:, None], judgements[~truth][None]
    return (active > silent) + 0.5 * (active == silent)


def _weighted(kernel: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC for each row of window weights [resamples, windows]; NaN where a kind has no weight."""
    active, silent = weights[:, truth], weights[:, ~truth]
    total = active.sum(1) * silent.sum(1)
    won = np.einsum("ra,as,rs->r", active, kernel, silent, optimize=True)
    return np.divide(won, total, out=np.full(len(won), np.nan), where=total > 0)


def _both(judgements: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The AUROC itself, then that of each resample."""
    everything = np.concatenate([np.ones((1, len(truth))), weights])
    return _weighted(_kernel(judgements, truth), truth, everything)


def _resample(documents: np.ndarray, seed: int) -> np.ndarray:
    """How often each window [resamples, windows] is drawn when documents are drawn with replacement."""
    names, which = np.unique(documents, return_inverse=True)
    generator = np.random.default_rng(seed)
    times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    return times[:, which].astype(float)


def _estimate(values: np.ndarray) -> Estimate:
    tail = (1 - LEVEL) / 2
    drawn = values[1:][~np.isnan(values[1:])]
    lower, upper = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (np.nan, np.nan)
    return Estimate(float(values[0]), float(lower), float(upper))
