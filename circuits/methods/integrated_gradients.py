"""Integrated gradients, one site at a time with all others live (arXiv 2403.19647, equation 4; arXiv 1703.01365).

1. For step k of N, every node of a site stands at alpha = (k + 1/2) / N of the way from reference to clean: the
   midpoint rule, of second order (the paper's and its code's end-point rules are mirror images of each other).
2. Decoding is affine, so interpolating all latents and the error together is interpolating the stream itself:
   x = alpha x_clean + (1 - alpha) x_patch.
3. Steps of few prompts share a pass: it takes `batch` rows, whichever pairs and steps they are.
4. The gradient there, averaged over steps, times clean minus reference, is each node's effect. Over a site they add
   up to the total effect, up to the rule's error: the completeness gap, which the run stores.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from circuits.methods import gradient_at
from circuits.problem import Problem
from data.progress import Report
from data.words import Site

COST = "steps x sites forward and backward passes, each from its site on"
RULE = "midpoint"


def gradients(problem: Problem, steps: int, report: Report) -> Mapping[Site, Tensor]:
    """The gradient at each site [batch pos d_model], averaged over `steps` midpoints."""
    found: dict[Site, Tensor] = {}
    for number, site in enumerate(problem.sites):
        found[site] = _averaged(problem, site, steps)
        report(number + 1, len(problem.sites))
    return found


def _averaged(problem: Problem, site: Site, steps: int) -> Tensor:
    state = problem.states[site]
    total = torch.zeros_like(state.x)
    rows = torch.arange(len(problem)).repeat(steps)
    alphas = ((torch.arange(steps) + 0.5) / steps).repeat_interleave(len(problem))
    for which, alpha in problem.pieces(rows, alphas):
        x = torch.lerp(state.x_patch[which], state.x[which], alpha[:, None, None])
        total.index_add_(0, which, gradient_at(problem, site, x, which) / steps)
    return total
