"""Attribution patching: the gradient at the clean prompt alone (arXiv 2403.19647, equation 3; arXiv 2310.10348).

One forward and backward pass per site, and so the cheapest estimate; it misses what saturates. Verify it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from circuits.methods import gradient_at
from circuits.problem import Problem
from data.progress import Report
from data.words import Site

COST = "one forward and backward pass per site, from that site on"


def gradients(problem: Problem, steps: int, report: Report) -> Mapping[Site, Tensor]:  # noqa: ARG001
    """The gradient at each site on the clean prompts; `steps` is not used."""
    found: dict[Site, Tensor] = {}
    for number, site in enumerate(problem.sites):
        x = problem.states[site].x
        found[site] = torch.cat([gradient_at(problem, site, x[rows], rows) for rows in problem.chunks()])
        report(number + 1, len(problem.sites))
    return found
