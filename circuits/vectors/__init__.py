"""What contexts are compared by when they are clustered. One file each.

A part has `vectors(problem, rows, seed)`, a sparse matrix of one row per context, and `COST` in words. Positions are
summed, so that where in a context something happens does not part it from others (arXiv 2403.19647, section 5).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.problem import Problem
from data.models import Edit
from data.words import Site


def gradients_at_once(problem: Problem, rows: Tensor) -> Mapping[Site, Float[Tensor, "rows pos d_model"]]:
    """The metric's gradient at every site on the clean prompts, from one pass."""
    leaves: dict[Site, Tensor] = {}

    def watch(site: Site, x: Tensor) -> Tensor:
        leaves[site] = torch.zeros_like(x, requires_grad=True)
        return x + leaves[site]

    edits: dict[Site, Edit] = {site: functools.partial(watch, site) for site in problem.sites}
    score = problem.metric(problem.run(rows, edits), rows).sum()
    return dict(zip(leaves, torch.autograd.grad(score, list(leaves.values())), strict=True))


def summed(problem: Problem, rows: Tensor, values: Float[Tensor, "rows pos width"]) -> Float[Tensor, "rows width"]:
    """Over the positions of a context, its prefix and padding left out."""
    place = problem.places.index("context") if "context" in problem.places else 0
    inside = problem.place[rows] == place
    return (values * inside[..., None]).sum(1)
