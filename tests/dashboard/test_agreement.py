"""Agreement of two raters, beside scikit-learn and beside sums done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from dashboard.agreement import SAME, agreement
from dashboard.widgets.agreeing import confusion

PAIRS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=40)


@given(PAIRS)
@settings(max_examples=40, deadline=None)
def test_kappa_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    found = agreement(one, other)
    if len({*one, *other}) == 1:
        assert (found.kappa, found.weighted, found.problem) == (None, None, SAME)
        return
    levels = [1, 2, 3, 4, 5]
    assert found.kappa
    assert found.weighted
    assert found.kappa.value == pytest.approx(cohen_kappa_score(one, other, labels=levels))
    assert found.weighted.value == pytest.approx(cohen_kappa_score(one, other, labels=levels, weights="quadratic"))


def test_by_hand() -> None:
    """Ten explanations, seven with the same rating: chance gives (4 x 5 + 6 x 5) / 100 = one half."""
    one, other = [1, 1, 1, 1, 5, 5, 5, 5, 5, 5], [1, 1, 1, 5, 5, 5, 5, 5, 1, 1]
    found = agreement(one, other)
    assert found.raw
    assert found.kappa
    assert found.raw.value == pytest.approx(0.7)
    assert found.kappa.value == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert found.table[0] == (3, 0, 0, 0, 1)
    assert found.table[4] == (2, 0, 0, 0, 4)


def test_the_interval_is_that_of_drawing_explanations_again() -> None:
    chance = np.random.default_rng(3)
    one = chance.integers(1, 6, 60)
    other = np.clip(one + chance.integers(-1, 2, 60), 1, 5)
    found = agreement(one.tolist(), other.tolist())
    picks = chance.integers(0, 60, (400, 60))
    drawn = [cohen_kappa_score(one[p], other[p], weights="quadratic") for p in picks]
    assert found.weighted
    assert found.weighted.lower == pytest.approx(np.percentile(drawn, 2.5), abs=0.03)
    assert found.weighted.upper == pytest.approx(np.percentile(drawn, 97.5), abs=0.03)


def test_few_and_constant_ratings_have_no_interval() -> None:
    few = agreement([1, 2, 3], [1, 2, 4])
    assert few.kappa
    assert math.isnan(few.kappa.lower)
    near = agreement([1, 2, 3, 4, 5, 1], [1, 2, 3, 4, 5, 2]).near  # never more than one apart: every draw is the same
    assert near
    assert (near.value, math.isnan(near.upper)) == (1.0, True)
    assert agreement([], []).problem == "No explanation has been rated by both yet."


def test_the_table_escapes_names() -> None:
    html = confusion(agreement([1, 5], [1, 4]).table, "<script>", "bob & co")
    assert "<script>" not in html
    assert "&lt;script&gt; down, bob &amp; co across" in html
    assert html.count('class="same"') == 5
