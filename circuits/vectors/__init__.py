"""What contexts are compared by when they are clustered. One file each.

A part has `vectors(problem, rows, seed)`, a sparse matrix of one row per context, and `COST` in words. Positions are
summed, so that where in a context something happens does not part it from others (arXiv 2403.19647, section 5).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from circuits.contexts import ROLE
from circuits.effects import by_place
from circuits.problem import Problem


def summed(problem: Problem, rows: Tensor, values: Float[Tensor, "rows pos width"]) -> Float[Tensor, "rows width"]:
    """Over the positions of a context, its prefix left out."""
    return by_place(problem, values, rows)[:, problem.places.index(ROLE)]
