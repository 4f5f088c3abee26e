"""One process, or several that share each batch (`torchrun`).

`Alone` is one process. What it answers is what any group must: how a sum, a mean or a list over the whole batch is had
from this process' share of it.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


class Alone:
    """This process has the whole batch."""

    rank = 0
    world = 1

    def share(self, values: Float[Tensor, " n"]) -> Float[Tensor, " all"]:
        """The values of all processes, in order of rank."""
        return values

    def mean(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The mean over processes."""
        return values

    def any(self, values: Bool[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        """Where it is true in any process."""
        return values
