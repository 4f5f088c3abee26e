"""What the rows of a scorer come to: does the order of the ladder come out, and does it notice a wrong extent?

1. Every number is a mean or a share over planted features; a trial is a feature. Means have bootstrap intervals over
   features, shares Wilson's (1927), since a bootstrap of a share of 1 is sure of it.
2. Order: of the six adjacent pairs of `ladder.ORDER`, the share in order, ties counting half, so that a constant gets 0.5.
   The last four rungs are all worthless, and a perfect reader of labels ties there: so also the share of those pairs,
   adjacent or not, whose true F1 differ by `APART`.
3. Spearman: per feature, of the score with the rung's place in `ORDER`, and of the score with true F1 over all rungs; 0 for
   a constant.
4. Extent: the share of features whose narrow and whose broad label score below the exact one. At least `NOTICED` of them
   must (the two tests that NeuronEval puts to a metric).
5. Injection: how much more often a judge of yes and no says yes under the injected label than under a foreign one.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import binomtest, rankdata

from autointerp.bootstrap import estimate, weights
from autointerp.ground.ladder import ORDER
from data.words import Estimate

APART = 0.1
NOTICED = 0.9
FEWEST = 3
"""Features below which nothing is said of how sure a mean is."""


@dataclass(frozen=True)
class Line:
    """One feature's ladder under one scorer: scores by rung (absent where it failed), and what is true of the labels."""

    latent: int
    kind: str
    value: dict[str, float] = field(default_factory=dict)
    natural: dict[str, float] = field(default_factory=dict)
    yes: dict[str, float] = field(default_factory=dict)
    f1: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """Numbers by name, with their intervals; how many features each is over; pairs out of order and how often."""

    numbers: Mapping[str, Estimate]
    trials: Mapping[str, int]
    violations: Sequence[tuple[str, str, int]]
    """Rungs of which the first should score above the second and does not, and on how many features."""
    follows: bool
    """Whether the judge does what an injected label says."""


def card(lines: Sequence[Line], seed: int) -> Card:
    """The card of a scorer; numbers that no feature has are left out."""
    columns: dict[str, list[float]] = {f"auroc {rung}": _column(lines, rung) for rung in _rungs(lines)}
    columns["right - swapped"] = [
        line.value["exact"] - line.value["shuffled"] for line in _with(lines, "exact", "shuffled")
    ]
    columns["order"] = [found for line in lines if (found := _order(line)) is not None]
    columns["order where labels differ"] = [found for line in lines if (found := _apart(line)) is not None]
    columns["spearman with order"] = [found for line in lines if (found := _rank(line)) is not None]
    columns["spearman with true F1"] = [found for line in lines if (found := _agree(line)) is not None]
    columns["yes to injection"] = [
        line.yes["injection"] - line.yes["shuffled"] for line in lines if {"injection", "shuffled"} <= line.yes.keys()
    ]
    numbers = {name: mean(found, seed) for name, found in columns.items() if found}
    trials = {name: len(found) for name, found in columns.items() if found}
    for name, found in _noticed(lines).items():
        numbers[name], trials[name] = share(sum(found), len(found)), len(found)
    follows = numbers["yes to injection"].lower > 0 if "yes to injection" in numbers else False
    return Card(numbers, trials, _violations(lines), follows)


def mean(found: Sequence[float], seed: int) -> Estimate:
    """The mean with a bootstrap interval over what it is a mean of.

    Of fewer than `FEWEST` there is no interval (NaN); where all are 1 it is that of a share: a bootstrap would be sure.
    """
    if len(found) < FEWEST:
        return Estimate(float(np.mean(found)), float("nan"), float("nan"))
    if min(found) == max(found) == 1:
        return share(len(found), len(found))
    drawn = weights(np.arange(len(found)), seed)
    return estimate(drawn @ np.array(found) / drawn.sum(1), len(found))


def share(yes: int, of: int) -> Estimate:
    """A share with Wilson's interval."""
    bounds = binomtest(yes, of).proportion_ci(method="wilson")
    return Estimate(yes / of, float(bounds.low), float(bounds.high))


def stored(bound: float) -> float | None:
    """An end of an interval as it is stored; None where there is none."""
    return None if np.isnan(bound) else bound


def _rungs(lines: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(rung for line in lines for rung in line.value))


def _column(lines: Sequence[Line], rung: str) -> list[float]:
    return [line.value[rung] for line in lines if rung in line.value]


def _with(lines: Sequence[Line], *rungs: str) -> list[Line]:
    return [line for line in lines if set(rungs) <= line.value.keys()]


def _won(line: Line, above: str, below: str) -> float:
    """1 where the pair is in order, one half where it ties."""
    left, right = line.value[above], line.value[below]
    return float(left > right) + 0.5 * float(left == right)


def _order(line: Line) -> float | None:
    pairs = [pair for pair in itertools.pairwise(ORDER) if set(pair) <= line.value.keys()]
    return float(np.mean([_won(line, *pair) for pair in pairs])) if pairs else None


def _apart(line: Line) -> float | None:
    known = [rung for rung in ORDER if rung in line.value]
    pairs = [(a, b) for a, b in itertools.combinations(known, 2) if line.f1[a] - line.f1[b] >= APART]
    return float(np.mean([_won(line, *pair) for pair in pairs])) if pairs else None


def _rank(line: Line) -> float | None:
    known = [rung for rung in ORDER if rung in line.value]
    return _spearman([line.value[rung] for rung in known], [-place for place in range(len(known))])


def _agree(line: Line) -> float | None:
    known = list(line.value)
    return _spearman([line.value[rung] for rung in known], [line.f1[rung] for rung in known])


def _spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Spearman's correlation, 0 where one side is constant; None for fewer than three."""
    if len(left) < 3:
        return None
    if len(set(left)) == 1 or len(set(right)) == 1:
        return 0.0
    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])


def _noticed(lines: Sequence[Line]) -> dict[str, list[bool]]:
    """Whether each feature's halved and doubled labels score below the exact one, by both measures."""
    found: dict[str, list[bool]] = {}
    for name, rung in (("halved is lower", "narrow"), ("doubled is lower", "broad")):
        for suffix, column in (("", "value"), (" (natural)", "natural")):
            sides = [getattr(line, column) for line in lines]
            pairs = [side[rung] < side["exact"] for side in sides if {rung, "exact"} <= side.keys()]
            if pairs:
                found[name + suffix] = pairs
    return found


def _violations(lines: Sequence[Line]) -> list[tuple[str, str, int]]:
    """Pairs of rungs whose labels truly differ, out of order or tied, the most frequent first."""
    counts = Counter(
        (above, below)
        for line in lines
        for above, below in itertools.permutations(line.value, 2)
        if line.f1[above] - line.f1[below] >= APART and line.value[above] <= line.value[below]
    )
    return [(above, below, count) for (above, below), count in counts.most_common()]
