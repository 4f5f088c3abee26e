"""Where the model would have to change: the gradient at all sites, projected at random to fewer dimensions.

The paper projects the gradient of the parameters (arXiv 2403.19647, appendix on clustering); that of the activations is
what reaches them and needs no pass per context. Very sparse random projections: Li, Hastie and Church 2006.
"""

from __future__ import annotations

import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from circuits.problem import Problem
from circuits.vectors import summed
from circuits.watch import watch

COST = "one forward and backward pass"
DIMENSIONS = 512


def vectors(problem: Problem, rows: Tensor, seed: int) -> csr_matrix:
    """Projected gradients [rows, 512]."""
    from sklearn.random_projection import SparseRandomProjection

    gradients = watch(problem, problem.sites, rows).gradients()
    found = torch.cat([summed(problem, rows, gradient) for gradient in gradients.values()], dim=1)
    size = min(DIMENSIONS, found.shape[1])
    projection = SparseRandomProjection(n_components=size, random_state=seed)  # pyright: ignore[reportArgumentType]
    return csr_matrix(projection.fit_transform(found.numpy()))
