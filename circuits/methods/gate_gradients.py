"""Integrated gradients of gates: all nodes of all sites come in together, bit by bit (Aumann and Shapley 1974, chapter 3).

1. For step k of N, every node of every site stands at alpha = (k + 1/2) / N of its own value, recomputed from the stream as
   it then is, and the rest of its reference: a gate on each node, all of them at alpha (`circuits.gates`).
2. A node's effect is its gate's gradient, averaged over steps. Of all sites together they add up to the total effect, since
   the path goes from no node in the circuit to all of them (completeness, arXiv 1703.01365, proposition 1).
3. So a behaviour that passes several sites is shared between them, and effects are smaller than those of one site patched
   alone: the order and the sign are to be compared with other methods, not the size. What counts is a node's use while
   others are missing too, as they are in a small circuit.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.effects import Effects, from_gradients
from circuits.gates import Gates, gated
from circuits.problem import Problem
from data.progress import Report

COST = "steps forward and backward passes from the first site on, whatever the number of sites"
RULE = "midpoint"


def effects(problem: Problem, steps: int, report: Report) -> Effects:
    """Each pair's effect of every gate, over `steps` midpoints."""
    gates = Gates.of(problem)
    total = torch.zeros(len(problem), gates.count)
    rows = torch.arange(len(problem)).repeat(steps)
    alphas = ((torch.arange(steps) + 0.5) / steps).repeat_interleave(len(problem))
    done = 0
    for which, alpha in problem.pieces(rows, alphas):
        z = alpha[:, None].expand(-1, gates.count).clone().requires_grad_()
        (gradient,) = torch.autograd.grad(gated(problem, gates, z, which).sum(), z)
        total.index_add_(0, which, gradient / steps)
        done += len(which)
        report(done, len(rows))
    return of_gates(problem, total)


def of_gates(problem: Problem, values: Float[Tensor, "batch gates"]) -> Effects:
    """Effects that are given gate by gate."""
    nodes = from_gradients(problem, {s: torch.zeros_like(problem.states[s].x) for s in problem.sites}).nodes
    example, node = values.nonzero(as_tuple=True)
    return Effects(example, node, values[example, node], nodes, len(problem))
