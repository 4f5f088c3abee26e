"""Mediators in place: a model that runs through their nodes, with the bare model's gradients.

1. At a site, x = decode(f) + e with f = encode(x) and e the error. `Splice` puts decode(f) + e back, where f and e are
   leaves, so that gradients reach every coordinate and every error.
2. The zero-valued term (x - x.detach()) passes the gradient on to x unchanged: upstream sites see exactly the bare
   model's gradient (sparse feature circuits, arXiv 2403.19647, section 3.1: "pass-through" and stop-gradients on e).
3. `self_check` compares logits and gradients of the spliced with the bare model; a run stores the figures, and a failed
   check stops it.
4. `ablated` runs with all nodes outside a mask at reference; those inside are recomputed from the stream as it flows, as in
   that paper's evaluation.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuits.mediators import Mediator
from circuits.problem import Problem
from data.errors import Mistake
from data.models import Edit
from data.words import Site

TOLERANCE = 1e-4
"""Relative gradient difference allowed: fp32 rounding through 30 blocks gives about 1e-6 to 1e-5."""


@dataclass(frozen=True)
class Leaves:
    """The leaves at one site in a spliced pass: coordinates `f` [batch pos coordinates], error `e` [batch pos d_model]."""

    f: Tensor
    e: Tensor


class Splice:
    """Edits that put mediators in place; `leaves` holds each site's coordinates and error once the model has run."""

    def __init__(self, mediators: Mapping[Site, Mediator]) -> None:
        self.mediators = mediators
        self.leaves: dict[Site, Leaves] = {}

    @property
    def edits(self) -> dict[Site, Edit]:
        return {site: functools.partial(self._splice, site) for site in self.mediators}

    def _splice(self, site: Site, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        one = self.mediators[site]
        fixed = x.detach()
        f = one.encode(fixed).detach().requires_grad_()
        e = (fixed - one.decode(f)).detach().requires_grad_()
        self.leaves[site] = Leaves(f, e)
        return one.decode(f) + e + (x - fixed)


@dataclass(frozen=True)
class SelfCheck:
    """Spliced against bare model: largest logit difference, relative gradient difference by site, parts that should be
    frozen and were not, and the verdict."""

    logits: float
    gradients: dict[str, float]
    unfrozen: int
    passed: bool


def self_check(problem: Problem, pairs: int = 4) -> SelfCheck:
    """Compares the spliced model with the bare one on the first pairs. Raises `Mistake` when they differ."""
    rows = torch.arange(min(pairs, len(problem)))
    bare_logits, bare = _bare_gradients(problem, rows)
    splice = Splice(problem.mediators)
    logits = problem.run(rows, splice.edits)
    problem.metric(logits, rows).sum().backward()
    scale = float(bare_logits.abs().max())
    difference = float((logits.detach() - bare_logits).abs().max())
    gradients = {str(s): _mismatch(problem.mediators[s], splice.leaves[s], bare[s]) for s in problem.sites}
    unfrozen = _unfrozen(problem)
    passed = difference <= TOLERANCE * scale and max(gradients.values()) <= TOLERANCE and not unfrozen
    check = SelfCheck(difference, gradients, unfrozen, passed)
    if not passed:
        raise Mistake(
            f"The spliced model differs from the bare one: logits by {difference:.2g} (largest {scale:.2g}), gradients "
            f"relatively by {max(gradients.values()):.2g}; {TOLERANCE:.0e} is allowed; {unfrozen} weights were not frozen. "
            f"Its effects would be wrong, so the run stops here. Check that the dictionaries belong to this model and "
            f"are in fp32."
        )
    return check


def _unfrozen(problem: Problem) -> int:
    """How many of the model's weights a backward pass has reached."""
    module = getattr(problem.model, "model", None)
    return sum(weight.grad is not None for weight in module.parameters()) if module is not None else 0


def _mismatch(one: Mediator, leaves: Leaves, bare: Tensor) -> float:
    """The larger relative difference: of the error's gradient from the bare one, of the coordinates' from its decoding."""
    assert leaves.e.grad is not None
    assert leaves.f.grad is not None
    return max(_relative(leaves.e.grad, bare), _relative(leaves.f.grad, one.along(bare)))


def _relative(value: Tensor, reference: Tensor) -> float:
    norm = float(reference.norm())
    return float((value - reference).norm()) / norm if norm else float(value.norm())


def _bare_gradients(problem: Problem, rows: Tensor) -> tuple[Tensor, dict[Site, Tensor]]:
    values: dict[Site, Tensor] = {}

    def watch(site: Site, x: Tensor) -> Tensor:
        # Adding a zero leaf makes the graph begin at the first site without changing any value.
        values[site] = torch.zeros_like(x, requires_grad=True)
        return x + values[site]

    logits = problem.run(rows, {site: functools.partial(watch, site) for site in problem.sites})
    problem.metric(logits, rows).sum().backward()
    return logits.detach(), {site: value.grad for site, value in values.items() if value.grad is not None}


@dataclass(frozen=True)
class Mask:
    """Which nodes of a site are in the circuit: `latents` [places nodes], `errors` [places]."""

    latents: Bool[Tensor, "places nodes"]
    errors: Bool[Tensor, " places"]

    @property
    def size(self) -> int:
        return int(self.latents.sum() + self.errors.sum())

    def complement(self) -> Mask:
        return Mask(~self.latents, ~self.errors)


def empty_masks(problem: Problem) -> dict[Site, Mask]:
    """No node at any site."""
    places = len(problem.places)
    return {
        site: Mask(torch.zeros(places, one.count, dtype=torch.bool), torch.zeros(places, dtype=torch.bool))
        for site, one in problem.mediators.items()
    }


@torch.no_grad()
def ablated(problem: Problem, masks: Mapping[Site, Mask]) -> Float[Tensor, " batch"]:
    """The metric of each pair's clean prompt with every node outside `masks` at reference."""
    return torch.cat([_ablated(problem, masks, rows) for rows in problem.chunks()])


def _ablated(problem: Problem, masks: Mapping[Site, Mask], rows: Tensor) -> Float[Tensor, " rows"]:
    """The metric of pairs `rows`; a pass begins at the first site, whose value is the clean one whatever the masks."""
    first, *rest = problem.sites
    edits: dict[Site, Edit] = {
        site: functools.partial(keep_only, problem, masks[site], site, rows) for site in problem.sites
    }
    begin = edits[first](problem.states[first].x[rows])
    assert begin is not None
    return problem.score(first, begin, rows, {site: edits[site] for site in rest})


def keep_only(
    problem: Problem, mask: Mask, site: Site, rows: Tensor, x: Float[Tensor, "rows pos d_model"]
) -> Float[Tensor, "rows pos d_model"]:
    """`x` with the site's nodes outside `mask` at reference."""
    one, state = problem.mediators[site], problem.states[site]
    place = problem.place[rows].clamp_min(0)
    f = one.encode(x)
    e = x - one.decode(f)
    f = torch.where(one.spread(mask.latents)[place], f, state.f_patch[rows])
    e = torch.where(mask.errors[place][..., None], e, state.e_patch[rows])
    return one.decode(f) + e
