"""A point of a curve: how much a circuit of one size recovers, pair by pair, beside random circuits of that size.

1. F = mean(m(C) - m(none)) / mean(m(all) - m(none)) over held-out pairs (arXiv 2403.19647, section 3.3): m(none) has
   everything at reference, m(all) is the clean prompt's. Faithfulness is F of the circuit, 1 at best; completeness is F
   of what is left without it, 0 at best.
2. One pair's share is 1 + (m(C) - m(all)) / mean(m(all) - m(none)). Their mean is F, and none is divided by a total of
   its own, which may be next to nothing. `Spread` says how they lie; the worst is the farthest from the best value.
3. Intervals resample pairs; those of the control also the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from circuits.intervals import bootstrap, ratio_of_means
from data.words import Estimate

IDEAL = {"faithfulness": 1.0, "completeness": 0.0}
KINDS = tuple(IDEAL)


@dataclass(frozen=True)
class Spread:
    """The shares of single pairs: the farthest from the best value, the outer tenths and the median."""

    worst: float
    tenth: float
    median: float
    ninetieth: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One point of a curve: `value` for a circuit of `size` nodes or edges, `control` for random ones of that size."""

    kind: str
    size: int
    value: Estimate
    control: Estimate
    mask: str
    """What is counted: nodes or edges."""
    ablation: str
    """What is outside the circuit is at this reference."""
    gained: Float[Tensor, "examples two"]
    """Per pair, m(C) - m(none) and m(all) - m(none)."""
    random: Float[Tensor, "examples draws two"]
    """The same for the random circuits."""

    @property
    def shares(self) -> Float[Tensor, " examples"]:
        """What of each pair is recovered; see the module."""
        return 1 + (self.gained[:, 0] - self.gained[:, 1]) / self.gained[:, 1].mean()

    @property
    def spread(self) -> Spread:
        """How the pairs' shares lie."""
        shares = self.shares
        far = int((shares - IDEAL[self.kind]).abs().argmax())
        tenth, median, ninetieth = torch.quantile(shares, torch.tensor([0.1, 0.5, 0.9])).tolist()
        return Spread(float(shares[far]), tenth, median, ninetieth)


def point(
    kind: str, size: int, gained: Tensor, random: Sequence[Tensor], *, mask: str, ablation: str, seed: int
) -> Evaluation:
    """The point of a circuit that gained `gained` [examples 2], and random ones that gained `random`."""
    drawn = torch.stack(list(random), dim=1)
    control = bootstrap(drawn, over_draws(ratio_of_means, len(random), seed), seed=seed)
    value = bootstrap(gained, ratio_of_means, seed=seed)
    return Evaluation(kind, size, value, control, mask, ablation, gained, drawn)


def over_draws(one: Callable[[Tensor], Tensor], draws: int, seed: int) -> Callable[[Tensor], Tensor]:
    """The mean of a statistic over random circuits, the second axis of a sample [*resamples, examples, draws, ...].

    Resampling resamples the circuits too; the sample itself is taken as it is.
    """

    def statistic(samples: Tensor) -> Tensor:
        found = torch.stack([one(samples[:, :, draw]) for draw in range(draws)], dim=1)
        if len(found) == 1:
            return found.mean(1)
        picks = torch.randint(draws, found.shape, generator=torch.Generator().manual_seed(seed))
        return found.gather(1, picks).mean(1)

    return statistic


def sizes(limit: int) -> list[int]:
    """Circuit sizes of the curve: 1, 2, 5, 10, 20, 50, ... up to `limit`, which is always among them, over two decades
    or so: the first hundredth of a circuit says little."""
    steps = [base * 10**power for power in range(6) for base in (1, 2, 5)]
    return [*(s for s in steps if limit / 100 <= s < limit), limit]


def table(points: Sequence[Evaluation]) -> pa.Table:
    """Every pair's share at every point: example, mask, ablation, kind, size, share."""
    columns: dict[str, list[object]] = {
        name: [getattr(p, name) for p in points for _ in p.gained] for name in ("mask", "ablation", "kind", "size")
    }
    example = [i for p in points for i in range(len(p.gained))]
    return pa.table({"example": example, **columns, "share": [s for p in points for s in p.shares.tolist()]})
