"""Verification by intervention: the exact effect of chosen nodes, and how well the estimates agree with it.

1. `exact_effects` gives one node at a time its reference value, on every example in which it differs, and lets the
   rest of the bare model react: effect = metric before minus metric after. Examples of many nodes of a site share a
   batch, and a pass begins at the site, so that nothing is computed that the patch cannot change.
2. `calibrate` compares estimates with exact effects: Pearson correlation with its interval, share of opposite signs, by
   site, and apart for the random sample, which the selection of the most important nodes cannot flatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.effects import Effects
from circuits.intervals import bootstrap
from circuits.methods import silent
from circuits.problem import Problem
from data.progress import Report
from data.words import Node, Site


@torch.no_grad()
def exact_effects(problem: Problem, nodes: Sequence[Node], report: Report | None = None) -> Effects:
    """The exact effect of each of `nodes` on each example, by patching it to its reference value at all its positions."""
    jobs = [(site, _jobs(problem, site, nodes)) for site in problem.sites]
    total = sum(len(example) for _, (example, _) in jobs)
    examples, numbers, values = [torch.zeros(0, dtype=torch.long)], [torch.zeros(0, dtype=torch.long)], [torch.zeros(0)]
    for site, (example, number) in jobs:
        before = _flow_on(problem, site, problem.states[site].x, torch.arange(len(problem)))
        for rows, which in problem.pieces(example, number):
            x = problem.states[site].x[rows] - change_of(problem, [nodes[i] for i in which.tolist()], rows)
            values.append(before[rows] - _flow_on(problem, site, x, rows))
            examples.append(rows)
            numbers.append(which)
            (report or silent)(sum(map(len, values)), total)
    return Effects(torch.cat(examples), torch.cat(numbers), torch.cat(values), tuple(nodes), len(problem))


def _jobs(problem: Problem, site: Site, nodes: Sequence[Node]) -> tuple[Tensor, Tensor]:
    """Which (example, node number) have something to patch at `site`."""
    pairs = [torch.zeros(0, 2, dtype=torch.long)]
    everyone = torch.arange(len(problem))
    for number, node in enumerate(nodes):
        if node.site == site:
            moved = (change_of(problem, [node] * len(problem), everyone) != 0).any(-1).any(-1)
            rows = moved.nonzero()[:, 0]
            pairs.append(torch.stack([rows, torch.full_like(rows, number)], dim=1))
    joined = torch.cat(pairs)
    return joined[:, 0], joined[:, 1]


def change_of(problem: Problem, nodes: Sequence[Node], rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows pos d_model"]:
    """What each row's node (all of one site) adds to the value there, clean minus reference, at its positions."""
    site = nodes[0].site
    assert site is not None
    state, one = problem.states[site], problem.mediators[site]
    change = torch.zeros_like(state.x[rows])
    for row, (example, node) in enumerate(zip(rows.tolist(), nodes, strict=True)):
        at = problem.place[example] == node.position
        if node.latent is None:
            change[row, at] = state.e[example, at] - state.e_patch[example, at]
        else:
            own = slice(node.latent * one.width, (node.latent + 1) * one.width)
            moved = state.f[example, at, own] - state.f_patch[example, at, own]
            change[row, at] = moved @ one.W_dec[own]
    return change


@torch.no_grad()
def site_totals(problem: Problem) -> dict[Site, float]:
    """The mean exact effect of all nodes of each site together."""
    rows = torch.arange(len(problem))
    return {
        site: float((problem.clean_metric - _flow_on(problem, site, problem.states[site].x_patch, rows)).mean())
        for site in problem.sites
    }


def _flow_on(problem: Problem, site: Site, x: Tensor, rows: Tensor) -> Float[Tensor, " rows"]:
    """The metric of pairs `rows` when the value at `site` is `x`."""
    return torch.cat([problem.metric(problem.flow(site, part, r), r) for part, r in problem.pieces(x, rows)])


@dataclass(frozen=True)
class Calibration:
    """Estimates against exact effects: `pearson` over `nodes` nodes, `sign_errors` the share with opposite signs."""

    nodes: int
    pearson: float
    pearson_lower: float
    pearson_upper: float
    sign_errors: float
    slope: float
    """Exact effect per unit of estimate, by least squares through 0."""


def calibrate(estimated: Float[Tensor, " nodes"], exact: Float[Tensor, " nodes"], seed: int = 0) -> Calibration | None:
    """How well estimates agree with exact effects, the interval by resampling nodes; None for fewer than three."""
    if len(exact) < 3:
        return None
    both = torch.stack([estimated, exact], dim=1)
    interval = bootstrap(both, _pearson, seed=seed)
    large = exact.abs() > 0.01 * exact.abs().max()  # the sign of a vanishing effect means nothing
    wrong = (estimated[large].sign() != exact[large].sign()).float().mean()
    slope = (estimated * exact).sum() / (estimated * estimated).sum().clamp_min(1e-30)
    return Calibration(len(exact), interval.value, interval.lower, interval.upper, float(wrong), float(slope))


def _pearson(samples: Float[Tensor, "*draws nodes two"]) -> Float[Tensor, "*draws"]:
    centred = samples - samples.mean(-2, keepdim=True)
    covariance = (centred[..., 0] * centred[..., 1]).mean(-1)
    spread = centred.square().mean(-2).sqrt().prod(-1)
    return covariance / spread.clamp_min(1e-30)


def calibration_record(nodes: Sequence[Node], top: int, estimated: Tensor, exact: Tensor) -> dict[str, Any]:
    """All that is stored of the calibration: of all verified nodes, the `top` first, the random rest, and each site."""
    record: dict[str, Any] = _plain(calibrate(estimated, exact)) or {"nodes": len(nodes), "pearson": None}
    record["most_important"] = _plain(calibrate(estimated[:top], exact[:top]))
    record["random_sample"] = _plain(calibrate(estimated[top:], exact[top:]))
    sites = sorted({node.site for node in nodes if node.site})
    by_site = {str(s): torch.tensor([node.site == s for node in nodes]) for s in sites}
    record["by_site"] = {s: _plain(calibrate(estimated[rows], exact[rows])) for s, rows in by_site.items()}
    return record


def _plain(calibration: Calibration | None) -> dict[str, Any] | None:
    return asdict(calibration) if calibration else None
