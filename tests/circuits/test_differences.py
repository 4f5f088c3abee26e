"""Differences at a stated rate: two halves of the same data differ nowhere, planted differences are found."""

from __future__ import annotations

import itertools

import pytest
import torch
from comparisons import NONE, columns_of, halves, realistic

from circuits import permutation
from circuits.diff import control, tell_apart


def test_two_halves_of_the_same_data_differ_nowhere() -> None:
    """Over 40 random halves the share with any finding is at most the stated rate, give or take two standard errors."""
    rate, trials, found = 0.1, 40, 0
    for trial in range(trials):
        left, right = halves(realistic(64, 40, seed=trial % 10), seed=trial)
        found += bool((tell_apart(columns_of(left, right), NONE, seed=trial, most=1000).q <= rate).any())
    assert found / trials <= rate + 2 * (rate * (1 - rate) / trials) ** 0.5


def test_the_same_prompts_twice_differ_nowhere() -> None:
    """The same, when both circuits were traced on the same prompts and differ by noise alone."""
    rate, trials, found = 0.1, 40, 0
    same = torch.arange(32).repeat(2, 1)
    for trial in range(trials):
        whole, g = realistic(32, 40, seed=trial % 10), torch.Generator().manual_seed(trial)
        left, right = (whole + 0.1 * whole * torch.randn(whole.shape, generator=g) for _ in range(2))
        found += bool((tell_apart(columns_of(left, right), same, seed=trial, most=1000).q <= rate).any())
    assert found / trials <= rate + 2 * (rate * (1 - rate) / trials) ** 0.5


def test_planted_differences_are_found() -> None:
    """Ten of sixty columns differ by twice their spread: nearly all are found, and few findings are false."""
    hits = false = 0
    for trial in range(5):
        g = torch.Generator().manual_seed(trial)
        left, right = (1 + 0.5 * torch.randn(32, 60, generator=g) for _ in range(2))
        right[:, :10] += 1
        found = tell_apart(columns_of(left, right), NONE, seed=trial, most=4000).q <= 0.05
        hits += int(found[:10].sum())
        false += int(found[10:].sum())
    assert hits >= 0.95 * 50
    assert false <= 0.1 * hits


def test_pairing_sees_what_independent_samples_cannot() -> None:
    """A change of a tenth in effects that vary by half from prompt to prompt."""
    g = torch.Generator().manual_seed(0)
    left = 1 + 0.5 * torch.randn(32, 20, generator=g)
    right = left + 0.1 + 0.05 * torch.randn(32, 20, generator=g)
    same = torch.arange(32).repeat(2, 1)
    assert bool((tell_apart(columns_of(left, right), same).q <= 0.05).all())
    assert not bool((tell_apart(columns_of(left, right), NONE).q <= 0.05).any())


def test_what_is_called_detectable_is_detected() -> None:
    """Columns that differ by it are found in four of five cases, of those that stand alone."""
    error = torch.full((200,), (2 * 0.5**2 / 40) ** 0.5)
    size = permutation.detectable(error, 0.05 * 200, 1)  # one column at p = 0.05: as if it were the only one
    g = torch.Generator().manual_seed(0)
    left, right = 0.5 * torch.randn(40, 200, generator=g), 0.5 * torch.randn(40, 200, generator=g) + size
    p = permutation.independent(left, right, most=1000)
    assert 0.7 <= float((p <= 0.05).float().mean()) <= 0.9


def test_the_control_finds_what_chance_finds() -> None:
    left, right = halves(realistic(64, 40, seed=0), seed=0)
    right[:, 0] += 20
    tested = tell_apart(columns_of(left, right), NONE, most=4000)
    assert bool((tested.q <= 0.05).any())
    assert control(tested, 0.05)["findings"] <= 0.4


def test_p_values_against_every_permutation() -> None:
    """Four against four, Welch's t over all 70 ways; six differences, the mean over all 64 signs."""
    g = torch.Generator().manual_seed(1)
    left, right = torch.randn(4, 3, generator=g), torch.randn(4, 3, generator=g) + 1
    both = torch.cat([left, right])
    for column in range(3):
        sizes: list[float] = []
        for chosen in itertools.combinations(range(8), 4):
            rest = [i for i in range(8) if i not in chosen]
            sizes.append(welch(both[list(chosen), column], both[rest, column]))
        exact = sum(size >= sizes[0] * (1 - 1e-6) for size in sizes) / 70
        found = float(permutation.independent(left, right, most=3000)[column])
        assert found == pytest.approx(exact, rel=0.5, abs=0.02)
    difference = torch.randn(6, 3, generator=g) + 0.5
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=6)))
    exact = ((signs @ difference).abs() >= difference.sum(0).abs() - 1e-6).float().mean(0)
    torch.testing.assert_close(permutation.paired(difference), exact)


def welch(left: torch.Tensor, right: torch.Tensor) -> float:
    return float((left.mean() - right.mean()).abs() / (left.var() / len(left) + right.var() / len(right)).sqrt())


def test_p_values_are_uniform_under_the_null() -> None:
    values = realistic(48, 400, seed=3)[:, :200]
    p = torch.cat([permutation.independent(*halves(values, seed), seed=seed, most=1000) for seed in range(3)])
    for level in (0.05, 0.2, 0.5):
        assert float((p <= level).float().mean()) <= level + 0.04


def test_a_single_odd_example_is_no_difference() -> None:
    left, right = torch.zeros(16, 1), torch.zeros(16, 1)
    right[3] = 100.0
    assert float(permutation.independent(left, right)) == 1
    assert float(permutation.independent(left, left * 0)) == 1


def test_q_values_are_benjamini_hochbergs() -> None:
    p = torch.tensor([0.01, 0.04, 0.03, 0.5])
    assert permutation.q_values(p).tolist() == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])


# Two circuits side by side
