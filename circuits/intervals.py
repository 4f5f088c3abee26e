"""Intervals by the percentile bootstrap over examples (Efron and Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from data.words import Estimate

DRAWS = 1000
LEVEL = 0.95

Statistic = Callable[[Tensor], Tensor]
"""From samples [*draws, examples, ...] to one number per draw."""


def bootstrap(values: Float[Tensor, " examples *rest"], statistic: Statistic, *, seed: int = 0) -> Estimate:
    """`statistic` of `values`, with its 95 % interval over resampled examples."""
    picks = _picks(len(values), seed)
    lower, upper = interval(statistic(values[picks]))
    return Estimate(float(statistic(values[None])[0]), float(lower), float(upper))


def of_means(values: Float[Tensor, "examples columns"], *, seed: int = 0) -> Float[Tensor, "three columns"]:
    """Mean, lower and upper bound of every column at once: resampling is one matrix product."""
    weights = torch.zeros(DRAWS, len(values))
    picks = _picks(len(values), seed)
    weights.scatter_add_(1, picks, torch.full(picks.shape, 1 / len(values)))
    lower, upper = interval(weights @ values)
    return torch.stack([values.mean(0), lower, upper])


def ratio_of_means(samples: Float[Tensor, "*draws examples two"]) -> Float[Tensor, "*draws"]:
    """Mean of the first column over mean of the second."""
    mean = samples.mean(-2)
    return mean[..., 0] / mean[..., 1]


def interval(draws: Float[Tensor, " draws *rest"]) -> tuple[Tensor, Tensor]:
    """The central 95 % of draws, along the first axis."""
    tail = (1 - LEVEL) / 2
    return torch.quantile(draws, tail, dim=0), torch.quantile(draws, 1 - tail, dim=0)


def _picks(examples: int, seed: int) -> Tensor:
    return torch.randint(examples, (DRAWS, examples), generator=torch.Generator().manual_seed(seed))
