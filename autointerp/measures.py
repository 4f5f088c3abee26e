"""What judgements are worth as a classifier, at the rate at which the feature fires in text.

1. At every threshold a judge has a recall (share of active windows above it) and a fallout (share of silent ones). In a
   sample of equal numbers precision looks far too good; at the natural rate pi it is
   recall pi / (recall pi + fallout (1 - pi)) (Bayes' rule). Fallout is measured on random silent windows alone: others were
   picked because they are hard.
2. Verdicts come from a threshold that needs no tuning where the scale has one (yes / no), else from one that is chosen, for
   each fold of documents, on the other folds: the largest recall - fallout (Youden 1950).
3. Average precision at the natural rate sums precision over steps of recall.
4. Intervals are those of the bootstrap, or the exact binomial bounds of recall and fallout (Clopper and Pearson 1934) where
   these reach farther: without a single false positive among 16 windows a bootstrap is sure of what nobody can know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import betaincinv

from autointerp.bootstrap import estimate
from data.intervals import LEVEL
from data.words import Estimate

FOLDS = 5
Rate = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Something that grows with recall and falls with fallout."""


@dataclass(frozen=True)
class Curve:
    """Recall and fallout at each distinct threshold from the highest on, for each draw."""

    recall: Float[np.ndarray, "draws thresholds"]
    fallout: Float[np.ndarray, "draws thresholds"]


@dataclass(frozen=True)
class Verdicts:
    """Yes or no for each item, and where the threshold came from."""

    said: Bool[np.ndarray, " items"]
    threshold: str


def precision(
    recall: Float[np.ndarray, "*shape"], fallout: Float[np.ndarray, "*shape"], rate: float
) -> Float[np.ndarray, "*shape"]:
    """The share of true ones among the yes, when `rate` of all are true; NaN where nothing gets a yes."""
    true, false = recall * rate, fallout * (1 - rate)
    return np.divide(true, true + false, out=np.full(np.shape(true), np.nan), where=true + false > 0)


def f1(
    recall: Float[np.ndarray, "*shape"], fallout: Float[np.ndarray, "*shape"], rate: float
) -> Float[np.ndarray, "*shape"]:
    """The harmonic mean of precision and recall at `rate`: 2 TP / (2 TP + FP + FN), 0 where nothing gets a yes."""
    return 2 * recall * rate / np.maximum(recall * rate + fallout * (1 - rate) + rate, 1e-300)


def balanced_accuracy(
    recall: Float[np.ndarray, "*shape"], fallout: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """The mean of recall and of the share of silent windows that get a no."""
    return (recall + 1 - fallout) / 2


def curve(
    values: Float[np.ndarray, " items"], truth: Bool[np.ndarray, " items"], drawn: Float[np.ndarray, "draws items"]
) -> Curve:
    """Recall and fallout at each threshold; items of equal value pass it together."""
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    return Curve(_reached(drawn * truth, order, ends), _reached(drawn * ~truth, order, ends))


def _reached(weights: np.ndarray, order: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The share of the weight [draws, items] that has come by each of `ends`; NaN where there is no weight."""
    summed = np.cumsum(weights[:, order], 1)
    total = np.broadcast_to(summed[:, -1:], (len(weights), len(ends)))
    return np.divide(summed[:, ends], total, out=np.full(total.shape, np.nan), where=total > 0)


def average_precision(found: Curve, rate: float) -> Float[np.ndarray, " draws"]:
    """The sum over thresholds of the step in recall times precision at `rate`."""
    steps = np.diff(found.recall, axis=1, prepend=0)
    return np.where(steps > 0, steps * precision(found.recall, found.fallout, rate), steps * 0).sum(1)


def auprc(
    values: Float[np.ndarray, " items"],
    truth: Bool[np.ndarray, " items"],
    drawn: Float[np.ndarray, "draws items"],
    drawn_from: int,
    rate: float,
) -> Estimate:
    """Average precision at `rate`; the interval holds what exact bounds of the fallout at each threshold would give."""
    found = curve(values, truth, drawn)
    lower, upper = bounds(found.fallout[:1], int((~truth).sum()))
    ends = [float(average_precision(Curve(found.recall[:1], bound), rate)[0]) for bound in (upper, lower)]
    return _widened(estimate(average_precision(found, rate), drawn_from), ends)


def rated(
    function: Rate,
    said: Bool[np.ndarray, " items"],
    truth: Bool[np.ndarray, " items"],
    drawn: Float[np.ndarray, "draws items"],
    drawn_from: int,
) -> Estimate:
    """`function` of the recall and fallout of verdicts, with the wider of both intervals."""
    recall, fallout = share(said, truth, drawn), share(said, ~truth, drawn)
    low, high = bounds(recall[:1], int(truth.sum()))
    least, most = bounds(fallout[:1], int((~truth).sum()))
    pairs = ((low, fallout[:1]), (high, fallout[:1]), (recall[:1], most), (recall[:1], least))
    return _widened(estimate(function(recall, fallout), drawn_from), [float(function(*pair)[0]) for pair in pairs])


def share(
    said: Bool[np.ndarray, " items"], among: Bool[np.ndarray, " items"], drawn: Float[np.ndarray, "draws items"]
) -> Float[np.ndarray, " draws"]:
    """The share of yes `among` some items; NaN where these have no weight."""
    total = drawn[:, among].sum(1)
    return np.divide(drawn[:, among & said].sum(1), total, out=np.full(len(drawn), np.nan), where=total > 0)


def bounds(shares: Float[np.ndarray, "*shape"], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Clopper and Pearson's bounds of shares that were counted among `count` items."""
    tail, yes = (1 - LEVEL) / 2, np.rint(shares * count)
    lower = np.where(yes > 0, betaincinv(np.maximum(yes, 1), count - yes + 1, tail), 0.0)
    upper = np.where(yes < count, betaincinv(yes + 1, np.maximum(count - yes, 1), 1 - tail), 1.0)
    return lower, upper


def _widened(found: Estimate, ends: list[float]) -> Estimate:
    return Estimate(found.value, float(np.nanmin([found.lower, *ends])), float(np.nanmax([found.upper, *ends])))


def verdicts(
    values: Float[np.ndarray, " items"],
    truth: Bool[np.ndarray, " items"],
    documents: Int[np.ndarray, " items"],
    threshold: float | None,
    seed: int,
) -> Verdicts:
    """Yes or no by the scale's own `threshold`, or by one that is cross-validated over documents."""
    if threshold is not None:
        return Verdicts(values > threshold, f"{threshold:g}, the scale's own")
    names, which = np.unique(documents, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names))[which] % FOLDS
    said = np.zeros(len(values), dtype=bool)
    for number in range(FOLDS):
        inside = fold == number
        said[inside] = values[inside] > best_threshold(values[~inside], truth[~inside])
    return Verdicts(said, f"cross-validated over documents in {FOLDS} folds: the largest recall - fallout")


def best_threshold(values: Float[np.ndarray, " items"], truth: Bool[np.ndarray, " items"]) -> float:
    """Half-way between the two neighbouring values that part active from silent best; infinite when a kind is missing."""
    if truth.all() or not truth.any():
        return float("inf")
    levels = np.unique(values)
    cuts = np.append((levels[1:] + levels[:-1]) / 2, np.inf)
    above = values[None] > cuts[:, None]
    gain = above[:, truth].mean(1) - above[:, ~truth].mean(1)
    return float(cuts[int(gain.argmax())])
