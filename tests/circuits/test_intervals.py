"""Intervals hold the truth as often as they say, on the kinds of effects that circuits have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy import stats

from circuits import intervals
from circuits.intervals import (
    bootstrap,
    interval,
    of_differences,
    of_means,
    ratio_of_means,
    resampled,
)

TRIALS = 800
Draw = Callable[[int, torch.Generator], torch.Tensor]


def normal(examples: int, g: torch.Generator) -> torch.Tensor:
    return 1 + torch.randn(examples, TRIALS, generator=g)


def skewed(examples: int, g: torch.Generator) -> torch.Tensor:
    """Exponential: one tail, mean 1."""
    return -torch.rand(examples, TRIALS, generator=g).clamp_min(1e-12).log()


def sparse(examples: int, g: torch.Generator) -> torch.Tensor:
    """A latent that fires in three examples of ten, with an effect of 10/3 give or take."""
    fires = torch.rand(examples, TRIALS, generator=g) < 0.3
    return fires * (1 + 0.5 * torch.randn(examples, TRIALS, generator=g)) / 0.3


def heavy(examples: int, g: torch.Generator) -> torch.Tensor:
    """Log-normal: one example in a hundred is ten times the mean."""
    return (torch.randn(examples, TRIALS, generator=g) - 0.5).exp()


def sparse_heavy(examples: int, g: torch.Generator) -> torch.Tensor:
    return (torch.rand(examples, TRIALS, generator=g) < 0.3) * heavy(examples, g) / 0.3


def covered(three: torch.Tensor, truth: float = 1.0) -> float:
    return float(((three[1] <= truth) & (truth <= three[2])).float().mean())


@pytest.mark.parametrize("draw", [normal, skewed, sparse, heavy, sparse_heavy], ids=lambda d: d.__name__)
@pytest.mark.parametrize("examples", [16, 32, 64])
def test_means_are_covered(draw: Draw, examples: int) -> None:
    """The truth, 1, lies inside in 90 to 97 % of simulations, give or take two standard errors of their number; at 16
    examples a rare effect may be covered more often."""
    values = draw(examples, torch.Generator().manual_seed(examples))
    share, noise = covered(of_means(values, seed=1)), 2 * (0.05 * 0.95 / TRIALS) ** 0.5
    assert 0.90 - noise <= share <= (0.97 if examples > 16 else 0.99) + noise


def test_percentiles_would_not_do() -> None:
    """Why means are studentised: the plain percentile interval of sparse, heavy effects is far too narrow."""
    values = sparse_heavy(16, torch.Generator().manual_seed(16))
    lower, upper = interval(resampled(16, seed=1) @ values)
    assert covered(torch.stack([values.mean(0), lower, upper])) < 0.85


@pytest.mark.parametrize("draw", [normal, sparse], ids=lambda d: d.__name__)
def test_differences_are_covered(draw: Draw) -> None:
    """Two samples of unlike size and spread, whose means differ by 1."""
    generator = torch.Generator().manual_seed(0)
    left, right = draw(24, generator), 2 * draw(48, generator)
    assert 0.90 <= covered(of_differences(left, right, seed=1)) <= 0.975


def test_ratios_are_covered() -> None:
    generator = torch.Generator().manual_seed(0)
    total = 3 + torch.randn(300, 24, generator=generator)
    part = 0.7 * total + 0.5 * torch.randn(300, 24, generator=generator)
    estimates = [bootstrap(torch.stack(both, dim=1), ratio_of_means) for both in zip(part, total, strict=True)]
    assert 0.91 <= sum(e.lower <= 0.7 <= e.upper for e in estimates) / 300 <= 0.98


def test_a_ratio_of_means_is_not_a_mean_of_ratios() -> None:
    values = torch.tensor([[1.0, 1.0], [1.0, 3.0]])
    assert bootstrap(values, ratio_of_means).value == pytest.approx(0.5)


def test_a_large_sample_has_students_interval() -> None:
    values = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = stats.t.interval(0.95, 1999, loc=values.mean(), scale=values.std() / 2000**0.5)
    found = of_means(values.float(), seed=3)
    assert found[1:, 0].tolist() == pytest.approx(list(expected), abs=0.004)  # 1,000 draws: a tenth of its half-width
    alone = bootstrap(values[:, 0].float(), lambda x: x.mean(-1), seed=3)
    assert [alone.lower, alone.upper] == pytest.approx(list(expected), abs=0.004)


def test_an_interval_moves_and_grows_with_the_values() -> None:
    values = skewed(32, torch.Generator().manual_seed(0))[:, :4]
    torch.testing.assert_close(of_means(-3 * values + 7), (-3 * of_means(values) + 7)[[0, 2, 1]])


def test_columns_are_alike_alone_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken eight at a time, and one by one."""
    monkeypatch.setattr(intervals, "COLUMNS", 8)
    values = torch.randn(30, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(of_means(values)[:, 19:], of_means(values[:, 19:]))


def test_nothing_to_see_has_no_width() -> None:
    assert of_means(torch.zeros(8, 2)).tolist() == [[0, 0]] * 3
    assert of_means(torch.zeros(8, 0)).shape == (3, 0)
    assert of_means(torch.full((1, 1), 2.0)).tolist() == [[2]] * 3
