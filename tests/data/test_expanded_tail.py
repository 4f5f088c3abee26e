"""Intervals of few examples hold the truth about as often as they say, where plain percentiles do not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from data.intervals import LEVEL, expanded_tail


def covered(examples: int, tail: float, samples: int = 1000) -> float:
    """How often the interval between the outer `tail` of 500 resampled means holds the mean of a normal, 0."""
    draw = np.random.default_rng(examples)
    values = draw.normal(size=(samples, examples))
    times = draw.multinomial(examples, np.full(examples, 1 / examples), size=500)
    low, high = np.quantile(values @ times.T / examples, [tail, 1 - tail], axis=1)
    return float(np.mean((low <= 0) & (high >= 0)))


@pytest.mark.parametrize("examples", [8, 10, 16])
def test_few_examples(examples: int) -> None:
    assert covered(examples, (1 - LEVEL) / 2) < 0.925
    # 1,000 samples have a standard error of .7 %; of 5 examples resampling has too few outcomes, and covers 90 %
    assert 0.93 <= covered(examples, expanded_tail(examples)) <= 0.975


@pytest.mark.parametrize("examples", [2, 3, 10, 100])
def test_the_tail_is_that_of_students_t(examples: int) -> None:
    t = stats.t(examples - 1).isf((1 - LEVEL) / 2)
    assert expanded_tail(examples) == pytest.approx(stats.norm.sf(t * (examples / (examples - 1)) ** 0.5))


def test_of_many_examples_it_is_the_plain_one() -> None:
    assert expanded_tail(2000) == pytest.approx((1 - LEVEL) / 2, rel=0.01)


@pytest.mark.parametrize("examples", [0, 1])
def test_of_one_example_nothing_can_be_said(examples: int) -> None:
    assert expanded_tail(examples) == pytest.approx((1 - LEVEL) / 2)
