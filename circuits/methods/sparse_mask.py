"""A learned sparse mask: which nodes the behaviour can do with (Louizos, Welling and Kingma, arXiv 1712.01312).

1. Every node that moves has a gate z, a stretched binary concrete variable (equations 10 and 11): with u uniform,
   s = sigmoid((log u - log(1 - u) + log alpha) / BETA), z = min(1, max(0, s (ZETA - GAMMA) + GAMMA)).
2. The model runs with every node at z times its own value, recomputed from the stream, and 1 - z times its reference, as
   the evaluation runs it with z of 0 or 1. Every row of a pass draws its own gates.
3. Adam minimises the squared loss of the metric, as a share of the total effect, and `pressure` times the expected number
   of open gates (equation 12). The pressure rises from where hardly a gate closes to where hardly one stays open.
4. Nodes are ranked by the gate's log-odds of being open, averaged over all updates: the higher, the more pressure a
   node withstood. One run so ranks all nodes, where one pressure would only split them into two.
5. A gate has no effect of its own. The per-example effects are those of integrated gradients, along one path where
   there is one (`integrated_gradients_together`) and site by site elsewhere; only their order is the mask's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.effects import Effects, from_gradients, moving
from circuits.methods import integrated_gradients, integrated_gradients_together, silent
from circuits.problem import Problem
from data.models import Edit
from data.progress import Report
from data.words import Site

COST = "30 x steps forward and backward passes of 16 prompts, from the first site on"
UPDATES = 30
"""Updates per step: with the usual 10 steps 300, after which the ranking of the tests' models changes little."""
ROWS = 16
"""Prompts of one update."""
RATE = 0.1
"""Adam's step: log alpha can cross the whole range, -6 to 6, in a hundred updates."""
START = 2.0
"""Log alpha at first: 97 % of the gates are open."""
PRESSURE = (1e-5, 1e-1)
"""First and last: a node is closed when it restores less than this share of the squared total effect."""
BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
"""Temperature and stretch, the paper's."""
SHIFT = BETA * math.log(-GAMMA / ZETA)
"""A gate is open with log-odds log alpha - SHIFT (equation 12)."""


@dataclass(frozen=True, eq=False)
class Gates:
    """One gate for each node that moves: `where`, by site, [places nodes + 1] with the error last; the first gate of each
    site is number `first`."""

    where: Mapping[Site, Bool[Tensor, "places nodes"]]
    first: Mapping[Site, int]
    count: int

    @classmethod
    def of(cls, problem: Problem) -> Gates:
        """In the order of `Effects.nodes`."""
        where = {site: moving(problem, site) for site in problem.sites}
        first: dict[Site, int] = {}
        count = 0
        for site, live in where.items():
            first[site] = count
            count += int(live.sum())
        return cls(where, first, count)

    def spread(self, site: Site, z: Float[Tensor, "rows gates"]) -> Float[Tensor, "rows places nodes"]:
        """The gates of a site, node by node; nodes that never move are closed, which for them is the same."""
        live = self.where[site]
        first = self.first[site]
        dense = z.new_zeros(len(z), live.numel())
        at = live.flatten().nonzero()[:, 0]
        return dense.index_copy(1, at, z[:, first : first + len(at)]).unflatten(1, live.shape)


def effects(problem: Problem, steps: int, report: Report) -> Effects:
    """Effects by integrated gradients, ranked by a mask learned in `UPDATES` x `steps` updates."""
    together = integrated_gradients_together.has_path(problem)
    part = integrated_gradients_together if together else integrated_gradients
    found = from_gradients(problem, part.gradients(problem, steps, silent))
    return replace(found, score=log_odds(problem, UPDATES * steps, report))


def log_odds(problem: Problem, updates: int, report: Report = silent) -> Float[Tensor, " nodes"]:
    """Each gate's log-odds of being open, averaged over `updates`, in the order of `Effects.nodes`."""
    gates = Gates.of(problem)
    log_alpha = torch.full((gates.count,), START, requires_grad=True)
    optimiser = torch.optim.Adam([log_alpha], lr=RATE)
    generator = torch.Generator().manual_seed(problem.seed)
    scale = problem.total_effect**2 or 1.0
    total = torch.zeros(gates.count)
    low, high = PRESSURE
    for update in range(updates):
        rows = torch.randperm(len(problem), generator=generator)[:ROWS]
        z = sample(log_alpha.expand(len(rows), -1), generator)
        lost = gated(problem, gates, z, rows) - problem.clean_metric[rows]
        pressure = low * (high / low) ** (update / max(updates - 1, 1))
        (grown,) = torch.autograd.grad(lost.square().mean() / scale + pressure * open_odds(log_alpha).sum(), log_alpha)
        log_alpha.grad = grown
        optimiser.step()
        total += log_alpha.detach() - SHIFT
        report(update + 1, updates)
    return total / updates


def sample(log_alpha: Float[Tensor, "rows gates"], generator: torch.Generator) -> Float[Tensor, "rows gates"]:
    """Gates from 0 to 1, both ends included (equations 10 and 11)."""
    u = torch.rand(log_alpha.shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    s = torch.sigmoid((u.logit() + log_alpha) / BETA)
    return (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def open_odds(log_alpha: Float[Tensor, " gates"]) -> Float[Tensor, " gates"]:
    """The probability that a gate is not 0 (equation 12)."""
    return torch.sigmoid(log_alpha - SHIFT)


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
    return problem.metric(problem.flow(first, begin, rows, {site: edits[site] for site in rest}), rows)


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
