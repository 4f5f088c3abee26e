"""Exact patching of every node: the truth that the other methods estimate, at one pass per node and example.

For small models and for checking; `circuits.verify` does the same for chosen nodes of a large one.
"""

from __future__ import annotations

import torch

from circuits import verify
from circuits.effects import Effects, from_gradients
from circuits.problem import Problem
from data.progress import Report

COST = "one forward pass per node and example in which the node differs, from its site on"


def effects(problem: Problem, steps: int, report: Report) -> Effects:  # noqa: ARG001
    """The exact effect of every node that ever differs; `steps` is not used."""
    candidates = from_gradients(problem, {s: torch.zeros_like(problem.states[s].x) for s in problem.sites})
    return verify.exact_effects(problem, candidates.nodes, report)
