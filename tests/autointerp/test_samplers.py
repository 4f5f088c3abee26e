"""Samplers: each gives all windows in an order of which any beginning is a fair sample of its kind."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.drawing import SAMPLERS, Drawing
from autointerp.examples import sampled
from data import parts
from data.errors import Mistake

NAMES = parts.names(SAMPLERS)
strengths = st.lists(st.floats(0.01, 100), max_size=40).map(np.array)


def order(text: str, strength: np.ndarray, seed: int = 0) -> list[int]:
    (choice,) = parts.choices(SAMPLERS, text)
    found = parts.load(SAMPLERS, choice.name).order(strength, np.random.default_rng(seed), choice.options)
    return found.tolist()


@pytest.mark.parametrize("name", NAMES)
@given(strength=strengths, seed=st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_a_sampler_orders_all_windows(name: str, strength: np.ndarray, seed: int) -> None:
    found = order(name, strength.astype(float), seed)
    assert sorted(found) == list(range(len(strength)))
    assert found == order(name, strength.astype(float), seed)


@given(strength=strengths)
@settings(max_examples=15, deadline=None)
def test_top_gives_the_strongest_first(strength: np.ndarray) -> None:
    found = strength.astype(float)[order("top", strength.astype(float))]
    assert found.tolist() == sorted(strength.tolist(), reverse=True)


@given(strength=strengths, strata=st.integers(1, 7), seed=st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_any_beginning_of_quantile_is_spread_over_the_strata(strength: np.ndarray, strata: int, seed: int) -> None:
    strength = strength.astype(float)
    stratum = np.empty(len(strength), dtype=int)
    for number, members in enumerate(np.array_split(np.argsort(-strength, kind="stable"), strata)):
        stratum[members] = number
    found = stratum[order(f"quantile:strata={strata}", strength, seed)]
    whole = np.bincount(stratum, minlength=strata)
    for taken in range(len(found)):
        counts = np.bincount(found[:taken], minlength=strata)
        left = counts < whole
        assert counts.max(initial=0) - counts[left].min(initial=counts.max(initial=0)) <= 1


def test_importance_draws_in_proportion_to_strength_without_replacement() -> None:
    strength, draws = np.array([1.0, 2.0, 5.0]), 4000
    generator = np.random.default_rng(0)
    part = parts.load(SAMPLERS, "importance")
    pairs = [tuple(part.order(strength, generator, part.Options())[:2].tolist()) for _ in range(draws)]
    share = strength / strength.sum()
    for first, second in itertools.permutations(range(3), 2):
        expected = share[first] * share[second] / (1 - share[first])
        # five standard deviations of a binomial share: a right sampler fails one such test in a million
        assert abs(pairs.count((first, second)) / draws - expected) < 5 * np.sqrt(expected * (1 - expected) / draws)


def test_random_draws_weak_and_strong_windows_alike() -> None:
    strength, draws = np.array([1.0, 2.0, 100.0, 1.0]), 2000
    generator = np.random.default_rng(0)
    part = parts.load(SAMPLERS, "random")
    first = np.bincount([part.order(strength, generator, part.Options())[0] for _ in range(draws)])
    assert np.abs(first / draws - 1 / 4).max() < 5 * np.sqrt(3 / 16 / draws)  # five standard deviations


def test_quantile_draws_any_window_of_a_stratum() -> None:
    strength, draws = np.repeat([1.0, 2.0], 4), 1000
    generator = np.random.default_rng(0)
    part = parts.load(SAMPLERS, "quantile")
    first = [part.order(strength, generator, part.Options(strata=2))[0] for _ in range(draws)]
    counts = np.bincount(first, minlength=8)
    assert not counts[:4].any()
    assert np.abs(counts[4:] / draws - 1 / 4).max() < 5 * np.sqrt(3 / 16 / draws)  # five standard deviations


@given(
    strength=strengths,
    count=st.integers(0, 50),
    text=st.sampled_from(["top,quantile", "top:share=0.2,importance,random"]),
)
@settings(max_examples=15, deadline=None)
def test_a_mix_takes_its_shares_each_from_what_is_left(strength: np.ndarray, count: int, text: str) -> None:
    strength = strength.astype(float)
    samplers = Drawing(sampler=text).samplers
    found = sampled(strength, count, samplers, np.random.default_rng(0)).tolist()
    assert sorted(found) == list(range(len(strength)))
    top = min(int(samplers[0].options.share / sum(s.options.share for s in samplers) * count + 0.5), len(strength))
    assert found[:top] == order("top", strength)[:top]


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ("topp", r"^There is no sampler 'topp'\. Did you mean 'top'\?"),
        ("top:share=0", r"^The share of a sampler is 0\.0; it must be above 0\.$"),
        ("quantile:strata=0", r"^strata of the quantile sampler is 0; it must be at least 1\.$"),
        ("", r"^No sampler is named; known: importance, quantile, random, top\.$"),
    ],
)
def test_a_sampler_that_is_not_there(sampler: str, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        Drawing(sampler=sampler)


def test_a_window_has_at_least_four_tokens() -> None:
    with pytest.raises(Mistake, match=r"^context is 3; a window has at least 4 tokens\.$"):
        Drawing(context=3)
