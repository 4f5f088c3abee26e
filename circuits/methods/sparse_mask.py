"""A learned sparse mask: which nodes the behaviour can do with (Louizos, Welling and Kingma, arXiv 1712.01312).

1. Every node that moves has a gate z (`circuits.gates`), a stretched binary concrete variable (equations 10 and 11): with u
   uniform, s = sigmoid((log u - log(1 - u) + log alpha) / BETA), z = min(1, max(0, s (ZETA - GAMMA) + GAMMA)).
   Every row of a pass draws its own.
2. Gates begin the more open the higher their node ranks by integrated gradients: from gates that are all alike, a mask of
   thousands of nodes takes many times as long.
3. Adam minimises the squared loss of the metric, as a share of the total effect, and `PRESSURE` times the expected number
   of open gates (equation 12). The pressure rises from where hardly a gate closes to where hardly one stays open.
4. Nodes are ranked by the gate's log-odds of being open, averaged over all updates: the higher, the more pressure a
   node withstood. One run so ranks all nodes, where one pressure would only split them into two.
5. The per-example effects are those of integrated gradients, along one path where there is one
   (`integrated_gradients_together`) and site by site elsewhere; only their order is the mask's.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuits.effects import Effects, from_gradients
from circuits.gates import Gates, gated
from circuits.methods import integrated_gradients, integrated_gradients_together, silent
from circuits.problem import Problem
from data.progress import Report

COST = "10 x steps forward and backward passes of 16 prompts, and those of integrated gradients"
RULE = "midpoint"
UPDATES = 10
"""Updates per step: with the usual 10 steps 100, after which the ranking changes little."""
ROWS = 16
"""Prompts of one update."""
RATE = 0.1
"""Adam's step: log alpha can cross its range in a hundred updates."""
START, SPREAD = 4.0, 10
"""Log alpha of the first node, and the rank at which it is 1 less; from there on 1 less at each doubling of the rank."""
PRESSURE = (1e-5, 1e-1)
"""First and last: a node is closed when it restores less than this share of the squared total effect."""
BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
"""Temperature and stretch, the paper's."""
SHIFT = BETA * math.log(-GAMMA / ZETA)
"""A gate is open with log-odds log alpha - SHIFT (equation 12)."""


def effects(problem: Problem, steps: int, report: Report) -> Effects:
    """Effects by integrated gradients, ranked by a mask learned in `UPDATES` x `steps` updates."""
    together = integrated_gradients_together.has_path(problem)
    part = integrated_gradients_together if together else integrated_gradients
    found = from_gradients(problem, part.gradients(problem, steps, silent))
    return replace(found, score=log_odds(problem, found.ranking(), UPDATES * steps, report))


def log_odds(
    problem: Problem, ranking: Int[Tensor, " nodes"], updates: int, report: Report = silent
) -> Float[Tensor, " nodes"]:
    """Each gate's log-odds of being open, averaged over `updates`, in the order of `Effects.nodes`; `ranking` says which
    nodes begin most open."""
    gates = Gates.of(problem)
    log_alpha = start(ranking).requires_grad_()
    optimiser = torch.optim.Adam([log_alpha], lr=RATE)
    generator = torch.Generator().manual_seed(problem.seed)
    total = torch.zeros(gates.count)
    for update in range(updates):
        rows = torch.randperm(len(problem), generator=generator)[:ROWS]
        z = sample(log_alpha.expand(len(rows), -1), generator)
        lost = (gated(problem, gates, z, rows) - problem.clean_metric[rows]) / (problem.total_effect or 1.0)
        loss = lost.square().mean() + _pressure(update, updates) * open_odds(log_alpha).sum()
        (log_alpha.grad,) = torch.autograd.grad(loss, log_alpha)
        optimiser.step()
        total += log_alpha.detach() - SHIFT
        report(update + 1, updates)
    return total / updates


def start(ranking: Int[Tensor, " nodes"]) -> Float[Tensor, " nodes"]:
    """The first log alpha of every node."""
    rank = torch.empty(len(ranking)).scatter(0, ranking, torch.arange(len(ranking), dtype=torch.float32))
    return START - torch.log2(1 + rank / SPREAD)


def _pressure(update: int, updates: int) -> float:
    low, high = PRESSURE
    return low * (high / low) ** (update / max(updates - 1, 1))


def sample(log_alpha: Float[Tensor, "rows gates"], generator: torch.Generator) -> Float[Tensor, "rows gates"]:
    """Gates from 0 to 1, both ends included (equations 10 and 11)."""
    u = torch.rand(log_alpha.shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    s = torch.sigmoid((u.logit() + log_alpha) / BETA)
    return (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def open_odds(log_alpha: Float[Tensor, " gates"]) -> Float[Tensor, " gates"]:
    """The probability that a gate is not 0 (equation 12)."""
    return torch.sigmoid(log_alpha - SHIFT)
