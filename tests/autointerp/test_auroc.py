"""AUROC against counting pairs, and intervals that cover."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.auroc import auroc, compare, newcombe, weighted_auroc
from autointerp.bootstrap import weights
from data.intervals import expanded_tail


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_equals_counting_all_pairs(rows: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([r[0] for r in rows], dtype=float), np.array([r[1] for r in rows])
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(scores[truth], scores[~truth])]
    if pairs:
        assert auroc(scores, truth) == pytest.approx(np.mean(pairs))
    else:
        assert np.isnan(auroc(scores, truth))


def test_interval_covers_the_true_value_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    truth = np.tile([True, False], 30)
    documents = np.repeat(np.arange(20), 3)
    true = 0.7602  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    covered = 0
    for trial in range(150):
        found = compare(draw.normal(size=60) + truth, None, truth, documents, seed=trial).value
        covered += found.lower <= true <= found.upper
    # 95 % asked; percentile bootstraps of 20 clusters cover a little less, and 150 trials have a standard error of 2 %.
    assert 0.87 <= covered / 150 <= 0.995


def test_few_documents_widen_the_interval_and_windows_alone_do_not() -> None:
    draw = np.random.default_rng(3)
    truth, documents = np.tile([True, False], 20), np.repeat(np.arange(8), 5)
    judgements = draw.normal(size=40) + truth
    found = compare(judgements, None, truth, documents, seed=0).value
    draws = weighted_auroc(judgements, truth, weights(documents, 0))[1:]
    plain = np.quantile(draws, [0.025, 0.975])
    assert [found.lower, found.upper] == pytest.approx(np.quantile(draws, [expanded_tail(8), 1 - expanded_tail(8)]))
    assert found.upper - found.lower > 1.1 * (plain[1] - plain[0])


def test_windows_of_a_document_count_together() -> None:
    draw = np.random.default_rng(0)
    truth = np.tile([True, False], 40)
    per_document = np.repeat(draw.normal(size=8), 10) * 3
    judgements = draw.normal(size=80) + truth + per_document * truth
    together = compare(judgements, None, truth, np.repeat(np.arange(8), 10), seed=0).value
    apart = compare(judgements, None, truth, np.arange(80), seed=0).value
    assert together.upper - together.lower > 1.3 * (apart.upper - apart.lower)


def test_difference_is_paired() -> None:
    draw = np.random.default_rng(1)
    truth, documents = np.tile([True, False], 30), np.repeat(np.arange(20), 3)
    judgements = draw.normal(size=60) + truth
    found = compare(judgements, judgements, truth, documents, seed=0)
    assert found.control == found.value
    assert found.difference is not None
    assert (found.difference.value, found.difference.lower, found.difference.upper) == (0, 0, 0)


def test_windows_that_are_parted_wholly_still_leave_doubt() -> None:
    truth, documents = np.tile([True, False], 16), np.arange(32)
    found = compare(truth.astype(float), np.zeros(32), truth, documents, seed=0)
    assert (found.value.value, found.value.upper) == (1, 1)
    assert found.value.lower == newcombe(16, 16)
    assert found.difference is not None
    assert found.difference.lower == pytest.approx(0.5 - (1 - newcombe(16, 16)))  # the control is 1/2 without a spread
    against = compare(-truth.astype(float), None, truth, documents, seed=0).value
    assert (against.value, against.lower, against.upper) == (0, 0, pytest.approx(1 - newcombe(16, 16)))
    alone = compare(truth.astype(float), None, truth, documents // 8, seed=0).value
    assert alone.lower < newcombe(16, 16)  # four documents say less than thirty-two


@pytest.mark.parametrize("count", [4, 8, 16])
def test_the_bound_is_where_being_parted_wholly_would_be_rare(count: int) -> None:
    draw, bound = np.random.default_rng(count), newcombe(count, count)
    from scipy.stats import norm

    apart = float(norm.ppf(bound)) * 2**0.5  # normal scores so far apart have this AUROC
    active, silent = draw.normal(apart, 1, (4000, count)), draw.normal(0, 1, (4000, count))
    rare = (active.min(1) > silent.max(1)).mean()
    assert rare < 0.04  # one side of 95 % asks for 0.025; a score interval is approximate, and here on the safe side
