"""Intervals by the bootstrap over examples (Efron and Tibshirani 1993, chapters 12 to 14).

1. A mean gets the studentised interval: each resample is measured in its own standard error. Effects are skewed and mostly
   zero, and at 16 to 64 examples the percentile interval of such a mean holds the truth in 80 to 90 % of cases only.
2. A resample that happens to hold hardly any non-zero example has a standard error near 0; it counts as at least `SHARE` of
   the sample's own, or a single empty resample would make the interval endless.
3. Any other statistic gets the percentile interval, widened as Student's t is wider than the normal (`data.intervals`).
4. An effect that is zero in every example has the interval [0, 0]: the bootstrap cannot see what was never drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from data.intervals import LEVEL, expanded_tail
from data.words import Estimate

DRAWS = 1000
SHARE = 0.2
"""Of the sample's standard error: with less, sparse effects get intervals three times as wide for the same coverage."""
COLUMNS = 4096
"""Means taken at a time: 1,000 draws of so many are 16 MB."""

Statistic = Callable[[Tensor], Tensor]
"""From samples [*draws, examples, ...] to one number per draw."""


def bootstrap(values: Float[Tensor, " examples *rest"], statistic: Statistic, *, seed: int = 0) -> Estimate:
    """`statistic` of `values`, with its 95 % interval over resampled examples."""
    lower, upper = interval(statistic(values[_picks(len(values), seed)]), tail=expanded_tail(len(values)))
    return Estimate(float(statistic(values[None])[0]), float(lower), float(upper))


def of_means(values: Float[Tensor, "examples columns"], *, seed: int = 0) -> Float[Tensor, "three columns"]:
    """Mean, lower and upper bound of every column: resampling is one matrix product."""
    weights = resampled(len(values), seed=seed)
    pieces = [_studentised(*_studied(some, weights)) for some in values.split(COLUMNS, dim=1) if some.numel()]
    return torch.cat([torch.zeros(3, 0), *pieces], dim=1)


def of_differences(
    left: Float[Tensor, "examples columns"], right: Float[Tensor, "others columns"], *, seed: int = 0
) -> Float[Tensor, "three columns"]:
    """Mean of `right` minus mean of `left`, two independent samples, with the studentised interval of the difference."""
    sides = [_studied(side, resampled(len(side), seed=seed + i)) for i, side in enumerate((left, right))]
    (mean_l, error_l, moved_l, errors_l), (mean_r, error_r, moved_r, errors_r) = sides
    return _studentised(mean_r - mean_l, error_l.hypot(error_r), moved_r - moved_l, errors_l.hypot(errors_r))


def ratio_of_means(samples: Float[Tensor, "*draws examples two"]) -> Float[Tensor, "*draws"]:
    """Mean of the first column over mean of the second."""
    mean = samples.mean(-2)
    return mean[..., 0] / mean[..., 1]


def interval(draws: Float[Tensor, " draws *rest"], *, tail: float = (1 - LEVEL) / 2) -> tuple[Tensor, Tensor]:
    """What lies between the outer `tail` of draws at each end, along the first axis; the central 95 % unless said."""
    return torch.quantile(draws, tail, dim=0), torch.quantile(draws, 1 - tail, dim=0)


def resampled(examples: int, draws: int = DRAWS, *, seed: int = 0) -> Float[Tensor, "draws examples"]:
    """What each example weighs in each resample; every row adds up to 1."""
    picks = _picks(examples, seed, draws)
    return torch.zeros(draws, examples).scatter_add_(1, picks, torch.full(picks.shape, 1 / max(examples, 1)))


def _studied(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and standard error; then, for each resample, how far its mean has moved and its standard error."""
    mean, freedom = values.mean(0), max(len(values) - 1, 1)
    centred = values - mean  # squares of centred values lose nothing to rounding
    moved = weights @ centred
    spread = (weights @ centred.square() - moved.square()).clamp_min(0)
    return mean, (centred.square().mean(0) / freedom).sqrt(), moved, (spread / freedom).sqrt()


def _studentised(mean: Tensor, error: Tensor, moved: Tensor, errors: Tensor) -> Float[Tensor, "three columns"]:
    least = (SHARE * error).clamp_min(1e-30)
    low, high = interval(moved / torch.maximum(errors, least))
    return torch.stack([mean, mean - high.clamp_min(0) * error, mean - low.clamp_max(0) * error])


def _picks(examples: int, seed: int, draws: int = DRAWS) -> Tensor:
    return torch.randint(examples, (draws, examples), generator=torch.Generator().manual_seed(seed))
