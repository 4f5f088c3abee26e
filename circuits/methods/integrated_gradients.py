"""Integrated gradients, one site at a time with all others live (arXiv 2403.19647, equation 4; arXiv 1703.01365).

1. For step k of N, every node of a site stands at alpha = (k + 1/2) / N of the way from reference to clean: the
   midpoint rule, of second order (the paper's and its code's end-point rules are mirror images of each other).
2. Decoding is affine, so interpolating all latents and the error together is interpolating the stream itself:
   x = alpha x_clean + (1 - alpha) x_patch.
3. The gradient there, averaged over steps, times clean minus reference, is each node's effect. Over a site they add
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


def gradients(problem: Problem, steps: int, report: Report) -> Mapping[Site, Tensor]:
    """The gradient at each site [batch pos d_model], averaged over `steps` midpoints."""
    found: dict[Site, Tensor] = {}
    for number, site in enumerate(problem.sites):
        found[site] = torch.cat([_average(problem, site, rows, steps) for rows in problem.chunks()])
        report(number + 1, len(problem.sites))
    return found


def _average(problem: Problem, site: Site, rows: Tensor, steps: int) -> Tensor:
    state = problem.states[site]
    total = torch.zeros_like(state.x[rows])
    for step in range(steps):
        alpha = (step + 0.5) / steps
        total += gradient_at(problem, site, alpha * state.x[rows] + (1 - alpha) * state.x_patch[rows], rows)
    return total / steps
