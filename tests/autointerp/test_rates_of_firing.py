"""What judgements are worth as a classifier, against counting and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score

from autointerp import measures
from autointerp.bootstrap import compared, estimate, weights

ITEMS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=4, max_size=40).filter(
    lambda rows: len({row[1] for row in rows}) == 2
)


def columns(rows: list[tuple[int, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values, truth, documents = zip(*rows, strict=True)
    return np.array(values, dtype=float), np.array(truth), np.array(documents)


@given(ITEMS)
@settings(max_examples=60)
def test_at_the_samples_own_rate_all_is_as_scikit_learn_counts_it(rows: list[tuple[int, bool, int]]) -> None:
    values, truth, _ = columns(rows)
    once, rate, said = np.ones((1, len(truth))), float(truth.mean()), values > 2
    found = measures.average_precision(measures.curve(values, truth, once), rate)
    assert found[0] == pytest.approx(average_precision_score(truth, values))
    recall, fallout = measures.share(said, truth, once), measures.share(said, ~truth, once)
    assert measures.f1(recall, fallout, rate)[0] == pytest.approx(f1_score(truth, said))
    precise = measures.precision(recall, fallout, rate)[0]
    if said.any():
        assert precise == pytest.approx(precision_score(truth, said))
    else:
        assert np.isnan(precise)


@given(ITEMS, st.floats(0.001, 0.5))
@settings(max_examples=40)
def test_a_rate_is_as_if_silent_items_counted_more(rows: list[tuple[int, bool, int]], rate: float) -> None:
    values, truth, _ = columns(rows)
    count = np.where(truth, rate / truth.mean(), (1 - rate) / (1 - truth.mean()))
    found = measures.average_precision(measures.curve(values, truth, np.ones((1, len(truth)))), rate)
    assert found[0] == pytest.approx(average_precision_score(truth, values, sample_weight=count))


def test_the_example_that_balanced_accuracy_hides() -> None:
    recall, fallout = np.array([0.9]), np.array([0.02])
    assert measures.balanced_accuracy(recall, fallout)[0] == pytest.approx(0.94)
    assert measures.precision(recall, fallout, 0.001)[0] == pytest.approx(0.0431, abs=5e-5)


def test_without_a_false_positive_the_interval_still_knows_what_it_does_not_know() -> None:
    truth, drawn = np.repeat([True, False], 50), weights(np.arange(100), 0)
    found = measures.rated(lambda r, f: measures.precision(r, f, 0.001), truth, truth, drawn, 100)
    assert (found.value, found.upper) == (1, 1)
    assert found.lower == pytest.approx(0.001 / (0.001 + (1 - 0.025**0.02) * 0.999))  # fallout up to 1 - 0.025^(1/50)
    area = measures.auprc(truth.astype(float), truth, drawn, 100, 0.001)
    assert area.value == 1
    assert area.lower < 0.02


@pytest.mark.parametrize(("count", "yes"), [(10, 0), (10, 10), (10, 3), (60, 1)])
def test_bounds_are_the_binomials(count: int, yes: int) -> None:
    from scipy.stats import binomtest

    lower, upper = measures.bounds(np.array([yes / count]), count)
    exact = binomtest(yes, count).proportion_ci(0.95, "exact")
    assert (lower[0], upper[0]) == pytest.approx((exact.low, exact.high))


def test_a_threshold_is_never_chosen_on_the_documents_it_is_used_on() -> None:
    draw = np.random.default_rng(0)
    documents = np.repeat(np.arange(40), 5)
    truth = draw.random(200) < 0.5
    noise = draw.normal(size=200)
    shares = []
    for seed in range(20):
        said = measures.verdicts(noise, truth, documents, None, seed).said
        shares.append((said == truth).mean())
    # On noise a threshold that had seen its data would do better than one half; 200 items have a standard error of 3.5 %.
    assert np.mean(shares) < 0.535
    clear = measures.verdicts(noise + 8 * truth, truth, documents, None, 0)
    assert (clear.said == truth).all()
    assert clear.threshold.startswith("cross-validated over documents in 5 folds")
    own = measures.verdicts(np.array([0.4, 0.5, 0.6]), np.array([True, False, True]), np.arange(3), 0.5, 0)
    assert (own.said.tolist(), own.threshold) == ([False, False, True], "0.5, the scale's own")


def test_the_best_threshold_is_half_way() -> None:
    assert measures.best_threshold(np.array([1.0, 2, 4, 5]), np.array([False, False, True, True])) == 3
    assert measures.best_threshold(np.array([1.0, 2]), np.array([True, True])) == np.inf


def test_draws_weigh_whole_documents_and_pair_their_difference() -> None:
    documents = np.array([7, 7, 3, 5, 3])
    drawn = weights(documents, 0)
    assert (drawn[0] == 1).all()
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, [0, 2, 3]].sum(1) == 3).all()
    values = drawn @ np.array([1.0, 2, 3, 4, 5])
    found = compared(np.stack([values, values + 2]), 3)
    assert found.difference is not None
    assert (found.difference.value, found.difference.lower, found.difference.upper) == (-2, -2, -2)
    assert np.isnan(estimate(np.array([1.0, np.nan]), 1).lower)
