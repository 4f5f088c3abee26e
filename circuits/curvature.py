"""When a first-order estimate cannot be trusted: the second-order term of the metric along a node's change.

1. Taking a node's change d away from the clean value moves the metric by -g.d + d'Hd / 2 + ..., with gradient g and Hessian
   H of the metric at the site, at the clean prompt. So the effect is g.d - d'Hd / 2 to second order.
2. r = |d'Hd| / (2 |g.d|), of means over some examples in which the node differs, says how large the second term is beside
   the first (arXiv 2606.09899). A node with r above `THRESHOLD` is flagged: an estimate from the clean gradient is not to
   be relied on. Other methods, the path integral among them, err in ways of their own.
3. Hd is one Hessian-vector product per row: the gradient's product with d, differentiated again. Fused attention has no
   second derivative, so attention runs by its plain kernel here.
4. `foretold` says how well the flag tells wrong estimates from right ones, where the exact effect is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from circuits.calibration import SMALL
from circuits.edges import Layer
from circuits.intervals import bootstrap
from circuits.methods import silent
from circuits.patches import changes, moved
from circuits.problem import Problem
from data.progress import Report
from data.words import Estimate, Node

THRESHOLD = 0.5
"""The second-order term is half the first: the estimate is then off by half even where all higher terms vanish."""
EXAMPLES = 8
"""A row costs about seven forward passes, and r is a diagnosis, not an effect: a few rows of each node do."""
WRONG = 0.5
"""An estimate is wrong when it is off by more than this share of the exact effect."""


@dataclass(frozen=True, eq=False)
class Curvature:
    """Along each node's change: g.d and d'Hd / 2 at the clean prompt, means over the node's rows, in the metric's units."""

    first: Float[Tensor, " nodes"]
    second: Float[Tensor, " nodes"]

    @property
    def ratio(self) -> Float[Tensor, " nodes"]:
        """r of each node; beyond all bounds where the first-order term vanishes and the second does not."""
        return self.second.abs() / self.first.abs().clamp_min(1e-30)

    @property
    def unreliable(self) -> Bool[Tensor, " nodes"]:
        return self.ratio > THRESHOLD


def curvature(
    problem: Problem, nodes: Sequence[Node], report: Report | None = None, *, examples: int = EXAMPLES
) -> Curvature:
    """First and second-order terms of each of `nodes`, over the first `examples` in which it differs from its reference."""
    layers = [layer for site in problem.sites if len(layer := Layer.of(site, nodes))]
    jobs = [_first_rows(moved(problem, layer).T, examples) for layer in layers]
    total, done = sum(map(len, jobs)), 0
    sums = torch.zeros(3, len(nodes))
    for layer, job in zip(layers, jobs, strict=True):
        for which, rows in problem.pieces(job[:, 0], job[:, 1]):
            terms = torch.cat([_terms(problem, layer, rows, which), torch.ones(1, len(rows))])
            sums.index_add_(1, layer.number[which], terms)
            done += len(rows)
            (report or silent)(done, total)
    first, second = sums[:2] / sums[2].clamp_min(1)
    return Curvature(first, second)


def _first_rows(live: Bool[Tensor, "nodes examples"], most: int) -> Int[Tensor, "rows two"]:
    """The first (node, example) of every node that are live, at most so many of each."""
    return (live & (live.cumsum(1) <= most)).nonzero()


def _terms(problem: Problem, layer: Layer, rows: Tensor, which: Tensor) -> Float[Tensor, "two rows"]:
    delta = changes(problem, layer, rows, which)
    x = problem.states[layer.site].x[rows].requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        score = problem.score(layer.site, x, rows).sum()
        (gradient,) = torch.autograd.grad(score, x, create_graph=True)
        along = (gradient * delta).sum((1, 2))
        # A model that is linear from here on has a gradient that depends on nothing.
        bent = torch.autograd.grad(along.sum(), x, materialize_grads=True)[0] if along.requires_grad else 0 * delta
    return torch.stack([along.detach(), (bent * delta).sum((1, 2)) / 2])


def foretold(
    ratio: Float[Tensor, " nodes"], estimated: Float[Tensor, " nodes"], exact: Float[Tensor, " nodes"], seed: int = 0
) -> dict[str, Any]:
    """How well r tells wrong estimates from right ones.

    The share of wrong estimates among flagged and among other nodes, and the chance that a wrong one has the larger r of
    the two (area under the ROC curve; 0.5 is chance) with its interval over resampled nodes. Effects below
    `calibration.SMALL` of the largest are left out.
    """
    kept = torch.maximum(estimated.abs(), exact.abs()) > SMALL * max(exact.abs().tolist(), default=0.0)
    wrong = ((estimated - exact).abs() > WRONG * exact.abs())[kept].float()
    flagged = (ratio > THRESHOLD)[kept]
    area = _area(ratio[kept], wrong, seed)
    return {
        "threshold": THRESHOLD, "nodes": int(kept.sum()), "flagged": int(flagged.sum()),
        "wrong_flagged": float(wrong[flagged].mean()) if flagged.any() else None,
        "wrong_others": float(wrong[~flagged].mean()) if (~flagged).any() else None,
        "auroc": area.value if area else None,
        "auroc_lower": area.lower if area else None, "auroc_upper": area.upper if area else None,
    }  # fmt: skip


def _area(ratio: Tensor, wrong: Tensor, seed: int) -> Estimate | None:
    """None when all are wrong, or none is."""
    if not 0 < wrong.sum() < len(wrong):
        return None
    rank = ratio.argsort().argsort().float()  # the order alone counts, and infinity has a place in it
    return bootstrap(torch.stack([rank, wrong], dim=1), _roc, seed=seed)


def _roc(samples: Float[Tensor, "*draws nodes two"]) -> Float[Tensor, "*draws"]:
    """Among pairs of a wrong and a right one, the share in which the wrong one ranks higher (Mann and Whitney 1947)."""
    rank, wrong = samples[..., 0].argsort(-1).argsort(-1) + 1.0, samples[..., 1]
    bad = wrong.sum(-1)
    pairs = bad * (wrong.shape[-1] - bad)
    above = (rank * wrong).sum(-1) - bad * (bad + 1) / 2
    return torch.where(pairs > 0, above / pairs, 0.5)  # a resample of one kind alone says nothing
