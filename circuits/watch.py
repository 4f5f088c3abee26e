"""One forward pass in which every site is watched, and backward passes through it.

1. A leaf of zeros is added at each site: no value changes, and one backward pass gives the gradient at all of them.
2. A gradient can also be sent back from a site in the middle (`back_from`), as if the model ended there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.problem import Problem
from data.models import Edit
from data.words import Site


@dataclass(frozen=True, eq=False)
class Watched:
    """A pass that is kept: the summed metric, and by site the leaf and the value that holds it."""

    metric: Float[Tensor, ""]
    leaves: dict[Site, Tensor] = field(default_factory=dict)
    values: dict[Site, Tensor] = field(default_factory=dict)

    def gradients(self) -> dict[Site, Tensor]:
        """The gradient of the metric at every site."""
        return self._back(self.metric, self.leaves, None)

    def back_from(self, site: Site, gradient: Tensor, to: Sequence[Site]) -> dict[Site, Tensor]:
        """What `gradient` at `site` becomes at the sites `to`."""
        return self._back(self.values[site], to, gradient)

    def _back(self, start: Tensor, to: Iterable[Site], gradient: Tensor | None) -> dict[Site, Tensor]:
        leaves = {site: self.leaves[site] for site in to}
        found = torch.autograd.grad(start, list(leaves.values()), gradient, retain_graph=True, materialize_grads=True)
        return dict(zip(leaves, found, strict=True))


def watch(problem: Problem, sites: Iterable[Site], rows: Int[Tensor, " rows"]) -> Watched:
    """A pass over the clean prompts of pairs `rows`, from the problem's first site on; `sites` lie at it or after."""
    watched: dict[Site, Tensor] = {}
    values: dict[Site, Tensor] = {}

    def add(site: Site, x: Tensor) -> Tensor:
        watched[site] = torch.zeros_like(x, requires_grad=True)
        values[site] = x + watched[site]
        return values[site]

    first = problem.sites[0]
    edits: Mapping[Site, Edit] = {site: functools.partial(add, site) for site in {first, *sites}}
    score = problem.score(first, problem.states[first].x[rows], rows, edits)
    return Watched(score.sum(), watched, values)
