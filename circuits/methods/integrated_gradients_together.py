"""Integrated gradients of all sites along one path (EAP-IG's inputs variant, arXiv 2403.17806, section 3).

1. For step k of N, the first site's whole value stands at alpha = (k + 1/2) / N of the way from reference to clean: the
   midpoint rule. All later sites follow, as the model computes them. Where the first site is inside a block, the stream
   that enters the block goes from the counterfactual prompt's to the clean one's instead.
2. The same passes give the gradients at every site: `steps` passes, where one path per site takes `steps` x sites.
3. The averaged gradient times clean minus reference is each node's effect. On the path's own site this is integrated
   gradients; further on the path is a curve and its ends may not be that site's reference, so that effects there need
   not add up to the total.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.problem import Problem
from data.errors import Mistake
from data.models import Edit
from data.progress import Report
from data.words import Site

COST = "steps forward and backward passes from the first site on, whatever the number of sites"
RULE = "midpoint"


def gradients(problem: Problem, steps: int, report: Report) -> Mapping[Site, Tensor]:
    """The gradient at each site [batch pos d_model], averaged over `steps` midpoints of the path of the first one.

    Raises `Mistake` when the first site is inside a block and the reference is not the counterfactual prompt, whose
    stream is then the path's other end.
    """
    begin, reference, clean = path(problem)
    total = {site: torch.zeros_like(problem.states[site].x) for site in problem.sites}
    rows = torch.arange(len(problem)).repeat(steps)
    alphas = ((torch.arange(steps) + 0.5) / steps).repeat_interleave(len(problem))
    done = 0
    for which, alpha in problem.pieces(rows, alphas):
        x = torch.lerp(reference[which], clean[which], alpha[:, None, None])
        for site, gradient in gradients_on(problem, begin, x, which).items():
            total[site].index_add_(0, which, gradient / steps)
        done += len(which)
        report(done, len(rows))
    return total


def has_path(problem: Problem) -> bool:
    """Whether one path leads from reference to clean for all sites."""
    return problem.sites[0].residual or problem.reference_name == "counterfactual"


def path(problem: Problem) -> tuple[Site, Float[Tensor, "batch pos d_model"], Float[Tensor, "batch pos d_model"]]:
    """Where the path runs, and its two ends: reference and clean."""
    first = problem.sites[0]
    if first.residual:
        return first, problem.states[first].x_patch, problem.states[first].x
    if not has_path(problem):
        raise Mistake(
            f"integrated_gradients_together goes along the stream that enters the first site, {first}, from the "
            f"counterfactual prompt's; the reference {problem.reference_name!r} has none. Put a resid_pre or resid_post "
            f"site first, or choose --method integrated_gradients."
        )
    layer = first.layer
    return Site(layer, "resid_pre"), problem.counter_entries[layer], problem.entries[layer]


def gradients_on(
    problem: Problem, begin: Site, x: Float[Tensor, "rows pos d_model"], rows: Int[Tensor, " rows"]
) -> dict[Site, Tensor]:
    """The metric's gradient at every site [rows pos d_model] when the value at `begin` is `x` and the rest flows on."""
    # A zero is added at each site: its gradient is the site's, and the pass computes what it would without it.
    leaves = {site: torch.zeros_like(problem.states[site].x[rows]).requires_grad_() for site in problem.sites}
    edits: dict[Site, Edit] = {site: functools.partial(torch.add, leaf) for site, leaf in leaves.items()}
    start = x + leaves[begin] if begin in leaves else x
    later = {site: edit for site, edit in edits.items() if site != begin}
    metric = problem.score(begin, start, rows, later)
    return dict(zip(leaves, torch.autograd.grad(metric.sum(), list(leaves.values())), strict=True))
