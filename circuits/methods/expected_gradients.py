"""Expected gradients: integrated gradients with a reference drawn at random (Erion et al. 2021, arXiv 1906.10670, eq. 3).

1. Each of `steps` times, every pair takes the reference values of another pair at the corresponding positions, and an
   alpha of its own: uniform on (0, 1), stratified, so that `steps` of them fill the interval evenly.
2. With x' that reference, the effect is the mean of (x - x') times the gradient at x' + alpha (x - x'): per site, the
   others live. Over a site, of all nodes, it adds up to the clean metric minus the mean metric of the references.
3. Nodes that differ between prompts but not within any pair are left out, as with every method: out of the circuit or in
   it, they have the same value. Effects are against other prompts, so they agree with exact patching only under the
   reference `resample`; under `zero`, where all references are one, they are integrated gradients with random steps.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.effects import Effects, from_dense
from circuits.methods import gradient_at
from circuits.problem import Problem
from circuits.references import Seen, resample
from data.errors import Mistake
from data.progress import Report
from data.words import Site

COST = "steps x sites forward and backward passes, each from its site on"
RULE = "uniform, stratified"
AGAINST = "the references of other pairs"


def effects(problem: Problem, steps: int, report: Report) -> Effects:
    """Node effects against the references of other pairs, `steps` of them. Raises `Mistake` for a single pair."""
    if len(problem) < 2:
        raise Mistake("Expected gradients draw references from other pairs; give at least 2 pairs.")
    found: dict[Site, Tensor] = {}
    for number, site in enumerate(problem.sites):
        found[site] = torch.stack([_draw(problem, site, step, steps) for step in range(steps)]).mean(0)
        report(number + 1, len(problem.sites))
    return from_dense(problem, found)


def _draw(problem: Problem, site: Site, step: int, steps: int) -> Float[Tensor, "batch pos nodes"]:
    """The effect of every node and of the error for one drawn reference and alpha of each pair."""
    state, one = problem.states[site], problem.mediators[site]
    f_other, e_other = (_of_others(problem, clean, reference, step)
                        for clean, reference in ((state.f, state.f_patch), (state.e, state.e_patch)))  # fmt: skip
    x_other = one.decode(f_other) + e_other
    alpha = (step + _uniform(problem, step)) / steps
    x = torch.lerp(x_other, state.x, alpha[:, None, None])
    gradient = torch.cat([gradient_at(problem, site, x[rows], rows) for rows in problem.chunks()])
    latents = one.gathered(one.along(gradient) * (state.f - f_other))
    return torch.cat([latents, (gradient * (state.e - e_other)).sum(-1, keepdim=True)], dim=-1)


def _of_others(problem: Problem, clean: Tensor, reference: Tensor, step: int) -> Tensor:
    seed = problem.seed * 10_007 + step  # the same shuffle for all that is read at one step
    return resample.reference(Seen(clean, reference, problem.place, problem.aligned.column, seed))


def _uniform(problem: Problem, step: int) -> Float[Tensor, " batch"]:
    return torch.rand(len(problem), generator=torch.Generator().manual_seed(problem.seed * 10_007 + step))
