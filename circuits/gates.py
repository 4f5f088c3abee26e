"""Gates: how much of each node is in the circuit, from 0 (at reference) to 1 (its own value), with gradients.

1. A gate stands on every node that ever differs from its reference, errors too; the others are the same in either place.
2. The model runs with every node at z times its own value, recomputed from the stream as it flows, and 1 - z times its
   reference. With gates of 0 and 1 this is what the evaluation does (`circuits.splice.ablated`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.effects import moving
from circuits.problem import Problem
from data.models import Edit
from data.words import Site


@dataclass(frozen=True, eq=False)
class Gates:
    """One gate for each node that moves, in the order of `Effects.nodes`: `where` they are by site [places nodes], the
    error last, and the number of each site's `first`."""

    where: Mapping[Site, Bool[Tensor, "places nodes"]]
    first: Mapping[Site, int]
    count: int

    @classmethod
    def of(cls, problem: Problem) -> Gates:
        """The gates of all sites."""
        where = {site: moving(problem, site) for site in problem.sites}
        first: dict[Site, int] = {}
        count = 0
        for site, live in where.items():
            first[site] = count
            count += int(live.sum())
        return cls(where, first, count)

    def spread(self, site: Site, z: Float[Tensor, "rows gates"]) -> Float[Tensor, "rows places nodes"]:
        """The gates of a site, node by node; nodes that never move have a gate of 0."""
        live = self.where[site]
        at = live.flatten().nonzero()[:, 0]
        mine = z[:, self.first[site] : self.first[site] + len(at)]
        return z.new_zeros(len(z), live.numel()).index_copy(1, at, mine).unflatten(1, live.shape)


def gated(
    problem: Problem, gates: Gates, z: Float[Tensor, "rows gates"], rows: Int[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """The metric of pairs `rows` with every node between its own value (gate 1) and its reference (gate 0)."""
    edits: dict[Site, Edit] = {
        site: functools.partial(_between, problem, site, rows, gates.spread(site, z)) for site in problem.sites
    }
    first, *rest = problem.sites
    begin = edits[first](problem.states[first].x[rows])
    assert begin is not None
    return problem.score(first, begin, rows, {site: edits[site] for site in rest})


def _between(
    problem: Problem, site: Site, rows: Tensor, z: Tensor, x: Float[Tensor, "rows pos d_model"]
) -> Float[Tensor, "rows pos d_model"]:
    one, state = problem.mediators[site], problem.states[site]
    place = problem.place[rows].clamp_min(0)[..., None]
    here = z.gather(1, place.expand(-1, -1, z.shape[-1]))
    f = one.encode(x)
    e = x - one.decode(f)
    f = torch.lerp(state.f_patch[rows], f, one.spread(here[..., :-1]))
    e = torch.lerp(state.e_patch[rows], e, here[..., -1:])
    return one.decode(f) + e
