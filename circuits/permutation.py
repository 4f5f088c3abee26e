"""Whether two sets of effects differ, column by column, without assuming how they are distributed.

1. Two independent samples: the labels of the examples are permuted, and Welch's t compared with those of the permutations.
   Studentised so, the test is exact where the two distributions are equal and holds asymptotically where only their means
   are (Janssen 1997; Chung and Romano 2013, arXiv 1304.5939).
2. The same prompts on both sides: the signs of the differences are flipped, which is exact where they are symmetric
   about 0.
3. p is (1 + permutations at least as extreme) / (1 + permutations), or the plain share where all of them can be listed:
   never 0 (Phipson and Smyth 2010, arXiv 1603.05766). Columns that may be findings get more permutations than others.
4. q-values are those of Benjamini and Hochberg (1995): findings at q <= rate hold at most that share of false ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

FIRST, MOST = 1000, 40_000
"""Permutations for every column, and for those of which fewer than ENOUGH were as extreme."""
ENOUGH = 20
"""Permutations as extreme at which a column is done: its p is then known to a quarter (Besag and Clifford 1991)."""
AT_ONCE = 500
TIE = 1e-9
"""Relative difference at which two statistics count as equal: fp64 sums of the same numbers in another order."""
POWER = 0.8

Statistic = Callable[[Tensor, Tensor], Tensor]
"""From labels [draws examples] and values [examples columns] to [draws columns]."""


def independent(
    left: Float[Tensor, "examples columns"], right: Float[Tensor, "others columns"], *, seed: int = 0, most: int = MOST
) -> Float[Tensor, " columns"]:
    """Two-sided p-values of equal means of two independent samples."""
    pooled = torch.cat([left, right]).double()
    pooled = pooled - pooled.mean(0)
    generator = torch.Generator().manual_seed(seed)
    own = torch.zeros(1, len(pooled), dtype=torch.float64)
    own[0, : len(left)] = 1

    def draw(count: int) -> Tensor:
        """Which examples are on the left, in each permutation."""
        order = torch.rand(count, len(pooled), generator=generator).argsort(1)
        return torch.zeros(count, len(pooled), dtype=torch.float64).scatter_(1, order[:, : len(left)], 1)

    return _share_as_extreme(pooled, own, draw, _welch, most)


def paired(
    difference: Float[Tensor, "examples columns"], *, seed: int = 0, most: int = MOST
) -> Float[Tensor, " columns"]:
    """Two-sided p-values of a mean difference of 0 over the same prompts."""
    values, examples = difference.double(), len(difference)
    if 2**examples <= FIRST:
        every = torch.arange(2**examples)[:, None] >> torch.arange(examples) & 1
        size = ((2.0 * every.double() - 1) @ values).abs()
        return (size >= values.sum(0).abs() * (1 - TIE)).double().mean(0).float()
    generator = torch.Generator().manual_seed(seed)
    own = torch.ones(1, examples, dtype=torch.float64)

    def draw(count: int) -> Tensor:
        return 2.0 * torch.randint(2, (count, examples), generator=generator).double() - 1

    # Flipping signs leaves the squares alone, so that the size of the sum orders permutations as Student's t does.
    return _share_as_extreme(values, own, draw, lambda signs, some: (signs @ some).abs(), most)


def _welch(chosen: Float[Tensor, "draws examples"], values: Float[Tensor, "examples columns"]) -> Tensor:
    """|t| of each permutation [draws columns]; 0 where nothing varies."""
    count = chosen.sum(1, keepdim=True)
    other = chosen.shape[1] - count
    total, squares = chosen @ values, chosen @ values.square()
    whole, whole_squares = values.sum(0), values.square().sum(0)
    left, right = total / count, (whole - total) / other
    spread = (squares / count - left.square()) / (count - 1)
    spread = spread + ((whole_squares - squares) / other - right.square()) / (other - 1)
    # A spread of rounding alone would make any t: it counts as at least a millionth of what the column holds.
    least = 1e-12 * whole_squares.clamp_min(1e-300)
    return (right - left).abs() / torch.maximum(spread, least).sqrt()


def _share_as_extreme(
    values: Tensor, own: Tensor, draw: Callable[[int], Tensor], statistic: Statistic, most: int
) -> Float[Tensor, " columns"]:
    """p-values: how often the statistic of `draw` is at least as large as that of `own`."""
    bar = statistic(own, values)[0] * (1 - TIE)
    count, made = torch.zeros(values.shape[1]), torch.zeros(values.shape[1])
    going = torch.arange(values.shape[1])
    for done in range(0, most, AT_ONCE):
        if done >= FIRST:
            going = (count < ENOUGH).nonzero()[:, 0]
        if not len(going):
            break
        count[going] += (statistic(draw(AT_ONCE), values[:, going]) >= bar[going]).float().sum(0)
        made[going] += AT_ONCE
    return (count + 1) / (made + 1)


def q_values(p: Float[Tensor, " columns"]) -> Float[Tensor, " columns"]:
    """Benjamini and Hochberg's adjusted p-values."""
    if not len(p):
        return p
    return torch.from_numpy(stats.false_discovery_control(p.double().numpy(), method="bh")).float()


def detectable(error: Float[Tensor, " columns"], rate: float, findings: int) -> Float[Tensor, " columns"]:
    """The difference that would be found in four cases of five, given each column's standard error and how many findings
    share the rate."""
    threshold = rate * max(findings, 1) / max(len(error), 1)
    return error * float(stats.norm.ppf(1 - threshold / 2) + stats.norm.ppf(POWER))


def finest(left: int, right: int, *, same: bool) -> float:
    """The smallest p that samples of these sizes can give."""
    ways = 2 ** (left - 1) if same else math.comb(left + right, left)
    return max(1 / ways, 1 / (MOST + 1))
