"""How far two raters agree on the ratings that both gave.

1. `table[i][j]` counts explanations that the first rated i + 1 and the second j + 1.
2. Cohen's kappa is agreement beyond what the two raters' own frequencies give by chance; weighted by the squared distance
   of two ratings, being one off costs a sixteenth of being four off.
3. Intervals are 95 % bootstrap percentiles over explanations (`data.intervals`); drawing n of them again is drawing the
   table's counts from a multinomial distribution. A draw in which chance alone agrees wholly has no kappa, and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.intervals import expanded_tail
from data.words import Estimate

LEVELS = 5
DRAWS = 2000
LEAST = 5
"""Explanations below which no interval is given."""


@dataclass(frozen=True)
class Agreement:
    """What `agreement` found; a number is None where it is not defined."""

    n: int
    table: tuple[tuple[int, ...], ...]
    raw: Estimate | None
    near: Estimate | None
    """Share of explanations with ratings at most one apart."""
    kappa: Estimate | None
    weighted: Estimate | None
    problem: str = ""


def agreement(one: Sequence[int], other: Sequence[int], *, seed: int = 0) -> Agreement:
    """Agreement of two raters' ratings (1 to 5) of the same explanations."""
    counts = np.zeros((LEVELS, LEVELS), dtype=np.int64)
    np.add.at(counts, (np.array(one, dtype=int) - 1, np.array(other, dtype=int) - 1), 1)
    table = tuple(tuple(int(n) for n in row) for row in counts)
    total = len(one)
    if not total:
        return Agreement(0, table, None, None, None, None, "No explanation has been rated by both yet.")
    drawn = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, size=DRAWS)
    whole = np.concatenate([counts.reshape(1, -1), drawn]).reshape(-1, LEVELS, LEVELS) / total
    distance = np.abs(np.subtract.outer(np.arange(LEVELS), np.arange(LEVELS)))
    costs = [(distance > 0).astype(float), (distance > 1).astype(float), distance.astype(float) ** 2]
    exact, near, squared = costs
    found = [
        1 - (whole * exact).sum((1, 2)), 1 - (whole * near).sum((1, 2)), _kappas(whole, exact), _kappas(whole, squared)
    ]  # fmt: skip
    raw, close, kappa, weighted = (_estimate(values, total) for values in found)
    return Agreement(total, table, raw, close, kappa, weighted, "" if kappa else SAME)


SAME = (
    "One rating was given throughout by both: there is nothing that chance would not agree on, so kappa is not defined."
)


def _kappas(shares: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """1 - observed cost / cost by chance, for each table; NaN where chance costs nothing."""
    chance = shares.sum(2)[:, :, None] * shares.sum(1)[:, None, :]
    expected = (chance * cost).sum((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 1e-12, 1 - (shares * cost).sum((1, 2)) / expected, np.nan)


def _estimate(values: np.ndarray, total: int) -> Estimate | None:
    """The first value with the interval of the rest."""
    if np.isnan(values[0]):
        return None
    drawn = values[1:][~np.isnan(values[1:])]
    if total < LEAST or not len(drawn):
        return Estimate(float(values[0]), float("nan"), float("nan"))
    tail = expanded_tail(total)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    if low == high:  # every draw is the same: the bootstrap knows nothing of how sure that is
        low = high = np.nan
    return Estimate(float(values[0]), float(low), float(high))
