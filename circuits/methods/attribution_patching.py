"""Attribution patching: the gradient at the clean prompt alone (arXiv 2403.19647, equation 3; arXiv 2310.10348).

One forward and backward pass for all sites, and so the cheapest estimate; it misses what saturates. Verify it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from circuits.problem import Problem
from circuits.watch import watch
from data.progress import Report
from data.words import Site

COST = "one forward and backward pass, from the first site on"


def gradients(problem: Problem, steps: int, report: Report) -> Mapping[Site, Tensor]:  # noqa: ARG001
    """The gradient at each site on the clean prompts; `steps` is not used."""
    pieces: list[dict[Site, Tensor]] = []
    for rows in problem.chunks():
        pieces.append(watch(problem, problem.sites, rows).gradients())
        report(len(pieces), len(problem.chunks()))
    return {site: torch.cat([piece[site] for piece in pieces]) for site in problem.sites}
