"""One number for a whole curve: areas under faithfulness over circuit size.

1. `log area`: the mean of F over the logarithm of the size, from the smallest to the largest evaluated (trapezoids).
   Every doubling of a circuit counts alike.
2. `CPR` and `CMD` as in MIB (Mueller et al. 2025, arXiv 2504.13151): trapezoid areas of F and of |1 - F| over the share
   of all nodes kept, linear, whose grid is `SHARES`. Four fifths of their weight is on circuits of more than a fifth of
   all nodes. CPR has no upper bound and rewards leaving out what works against the answer; CMD does not.
3. Both are of one and the same ranking, by absolute effect. Tables that take CPR from a signed ranking and CMD from an
   absolute one quote two different circuits: for one, CMD is at least |1 - CPR| up to the width of the grid.
4. Intervals resample pairs, the same ones at all sizes; those of the control also the random circuits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.curves import Evaluation, over_draws
from circuits.intervals import bootstrap
from data.words import Estimate

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The shares of all nodes at which MIB evaluates."""


@dataclass(frozen=True)
class Area:
    """An area of one curve, and that of its random circuits."""

    name: str
    kind: str
    mask: str
    ablation: str
    value: Estimate
    control: Estimate


def grid(whole: int) -> list[int]:
    """The sizes of MIB's grid for `whole` nodes; shares of less than one node fall away."""
    return sorted({max(1, round(share * whole)) for share in SHARES})


def areas(points: Sequence[Evaluation], whole: int, *, seed: int = 0) -> list[Area]:
    """The areas of every curve with two sizes or more. `whole` is how many nodes there are: CPR and CMD are given of
    faithfulness curves of nodes that go up to it."""

    def which(one: Evaluation) -> tuple[str, str, str]:
        return one.mask, one.ablation, one.kind

    groups = itertools.groupby(sorted(points, key=lambda one: (*which(one), one.size)), which)
    return [area for _, group in groups for area in _areas_of([p for p in group if p.size], whole, seed)]


def _areas_of(curve: Sequence[Evaluation], whole: int, seed: int) -> Iterator[Area]:
    if len(curve) < 2:
        return
    sizes = torch.tensor([float(one.size) for one in curve])
    gained, random = (torch.stack([getattr(one, name) for one in curve], dim=-2) for name in ("gained", "random"))
    for name, statistic in _statistics(sizes, whole, curve[-1]):
        value = bootstrap(gained, statistic, seed=seed)
        control = bootstrap(random, over_draws(statistic, random.shape[1], seed), seed=seed)
        yield Area(name, curve[0].kind, curve[0].mask, curve[0].ablation, value, control)


def _statistics(sizes: Tensor, whole: int, last: Evaluation) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    logs, shares = sizes.log(), sizes / whole
    yield "log area", lambda samples: _under(_curves(samples), logs) / (logs[-1] - logs[0])
    if last.size == whole and last.mask == "nodes" and last.kind == "faithfulness":
        yield "CPR", lambda samples: _under(_curves(samples), shares)
        yield "CMD", lambda samples: _under((1 - _curves(samples)).abs(), shares)


def _curves(samples: Float[Tensor, "draws examples sizes two"]) -> Float[Tensor, "draws sizes"]:
    """F at every size."""
    mean = samples.mean(1)
    return mean[..., 0] / mean[..., 1]


def _under(values: Float[Tensor, "draws sizes"], at: Float[Tensor, " sizes"]) -> Float[Tensor, " draws"]:
    return torch.trapezoid(values, at, dim=-1)
