"""RelP: the gradient at the clean prompt, by the rules of layer-wise relevance propagation (arXiv 2508.21258).

Attribution patching, with norms, activations and attention patterns held where they stand and the branches of gated MLPs
sharing their product (`circuits.rules`): what a gradient misjudges because it bends is left out of it. The rules are for
what lies between nodes and metric; queries and keys, when they are nodes, are felt as in attribution patching.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from circuits.problem import Problem
from circuits.rules import relevance
from circuits.watch import watch
from data.progress import Report
from data.words import Site

COST = "one forward and backward pass, for all sites together"
NEEDS_MODULES = True


def gradients(problem: Problem, steps: int, report: Report) -> Mapping[Site, Tensor]:  # noqa: ARG001
    """The gradient at each site on the clean prompts, under the rules; `steps` is not used."""
    found: dict[Site, list[Tensor]] = {site: [] for site in problem.sites}
    with relevance(problem.model):
        for rows in problem.chunks():
            for site, gradient in watch(problem, problem.sites, rows).gradients().items():
                found[site].append(gradient)
            report(int(rows[-1]) + 1, len(problem))
    return {site: torch.cat(pieces) for site, pieces in found.items()}
