"""Which latents are active in a context: their activations at all sites."""

from __future__ import annotations

import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from circuits.problem import Problem
from circuits.vectors import summed

COST = "what the states of the problem cost, one pass"


def vectors(problem: Problem, rows: Tensor, seed: int) -> csr_matrix:  # noqa: ARG001
    """Activations [rows, sites x d_sae]; `seed` is not used."""
    return csr_matrix(torch.cat([summed(problem, rows, s.f[rows]) for s in problem.states.values()], dim=1).numpy())
