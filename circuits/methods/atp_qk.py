"""Attribution patching with AtP*'s fix for queries and keys alone (arXiv 2403.00745).

Attention is computed again with the patched query or key, and the gradient at its output estimates the rest. Over many
prompts, where cancellation differs from one to the next, that paper finds it enough; `atp_star` adds GradDrop.
"""

from __future__ import annotations

from circuits.effects import Effects
from circuits.methods.atp_star import fixed_effects
from circuits.problem import Problem
from data.progress import Report

COST = "two forward passes and one backward pass, for all sites together"


def effects(problem: Problem, steps: int, report: Report) -> Effects:  # noqa: ARG001
    """Effects of all nodes; `steps` is not used."""
    return fixed_effects(problem, report)
