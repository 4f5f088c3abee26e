"""Which latents carry the prediction: gradient times activation at all sites, the linear effect of removing each one."""

from __future__ import annotations

import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from circuits.problem import Problem
from circuits.vectors import summed
from circuits.watch import watch

COST = "one forward and backward pass"


def vectors(problem: Problem, rows: Tensor, seed: int) -> csr_matrix:  # noqa: ARG001
    """Effects [rows, sites x d_sae]; `seed` is not used."""
    found = [
        summed(problem, rows, problem.mediators[site].along(gradient) * problem.states[site].f[rows])
        for site, gradient in watch(problem, problem.sites, rows).gradients().items()
    ]
    return csr_matrix(torch.cat(found, dim=1).numpy())
