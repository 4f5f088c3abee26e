"""How well estimates agree with exact effects.

1. `calibrate`: Pearson correlation with its interval over resampled nodes, the slope of exact on estimated, and the share
   of opposite signs. The control is chance: the correlation that the same numbers reach when they are shuffled.
2. `record` does so for everything verified, for the most important ones, for the random sample (which the selection of the
   most important cannot flatter), and for each site or pair of sites.
3. `points` are the scatter itself, a row for each node or edge verified; a run keeps them in
   effects/CIRCUIT/part-calibration.parquet.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.intervals import bootstrap

SHUFFLES = 1000
SMALL = 0.01
"""Share of the largest exact effect below which the sign of an effect means nothing."""


@dataclass(frozen=True)
class Calibration:
    """Estimates against exact effects, over `nodes` nodes or edges."""

    nodes: int
    pearson: float
    pearson_lower: float
    pearson_upper: float
    chance: float
    """95 % of correlations of shuffled estimates are below this."""
    sign_errors: float
    """The share with opposite signs, of effects that are not vanishing."""
    slope: float
    """Exact effect per unit of estimate, by least squares through 0."""


def calibrate(estimated: Float[Tensor, " nodes"], exact: Float[Tensor, " nodes"], seed: int = 0) -> Calibration | None:
    """How well estimates agree with exact effects, the interval by resampling nodes; None for fewer than three."""
    if len(exact) < 3:
        return None
    interval = bootstrap(torch.stack([estimated, exact], dim=1), _pearson, seed=seed)
    large = exact.abs() > SMALL * exact.abs().max()
    wrong = (estimated[large].sign() != exact[large].sign()).float().mean() if large.any() else torch.tensor(0.0)
    slope = (estimated * exact).sum() / (estimated * estimated).sum().clamp_min(1e-30)
    return Calibration(
        len(exact), interval.value, interval.lower, interval.upper, _chance(estimated, exact, seed), float(wrong),
        float(slope),
    )  # fmt: skip


def _chance(estimated: Tensor, exact: Tensor, seed: int) -> float:
    """The 95 % quantile of the correlation when estimates are dealt to nodes at random."""
    generator = torch.Generator().manual_seed(seed)
    dealt = estimated[torch.rand(SHUFFLES, len(estimated), generator=generator).argsort(1)]
    return float(_pearson(torch.stack([dealt, exact.expand_as(dealt)], dim=-1)).quantile(0.95))


def _pearson(samples: Float[Tensor, "*draws nodes two"]) -> Float[Tensor, "*draws"]:
    centred = samples - samples.mean(-2, keepdim=True)
    covariance = (centred[..., 0] * centred[..., 1]).mean(-1)
    spread = centred.square().mean(-2).sqrt().prod(-1)
    return covariance / spread.clamp_min(1e-30)


@dataclass(frozen=True, eq=False)
class Verified:
    """Estimates beside exact effects, means over examples: the `top` most important first, then the random sample."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    """The site of each node, or the two sites of each edge."""
    estimated: Float[Tensor, " chosen"]
    exact: Float[Tensor, " chosen"]
    top: int

    def record(self) -> dict[str, Any]:
        """The calibrations of all, of the most important, of the random sample, and by site."""
        everything = plain(calibrate(self.estimated, self.exact))
        found: dict[str, Any] = everything or {"nodes": len(self.names), "pearson": None}
        found["most_important"] = plain(calibrate(self.estimated[: self.top], self.exact[: self.top]))
        found["random_sample"] = plain(calibrate(self.estimated[self.top :], self.exact[self.top :]))
        found["by_site"] = {group: plain(self._of(group)) for group in sorted(set(self.groups))}
        return found

    def _of(self, group: str) -> Calibration | None:
        rows = torch.tensor([one == group for one in self.groups])
        return calibrate(self.estimated[rows], self.exact[rows])

    def points(self) -> list[dict[str, Any]]:
        """The scatter, a row for each: name, site, sample, estimated, exact."""
        return [
            {"name": name, "site": site, "sample": "most important" if i < self.top else "random",
             "estimated": estimate, "exact": truth}
            for i, (name, site, estimate, truth) in enumerate(
                zip(self.names, self.groups, self.estimated.tolist(), self.exact.tolist(), strict=True)
            )
        ]  # fmt: skip


def plain(calibration: Calibration | None) -> dict[str, Any] | None:
    """What JSON can hold of it."""
    return asdict(calibration) if calibration else None
