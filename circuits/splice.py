"""Dictionaries in place: a model that runs through its latents and error nodes, with the bare model's gradients.

1. At a site, x = decode(f) + e with f = encode(x) and e the dictionary's error. `Splice` puts decode(f) + e back, where f
   and e are leaves, so that gradients reach every latent and every error.
2. The zero-valued term (x - x.detach()) passes the gradient on to x unchanged: upstream sites see exactly the bare
   model's gradient (sparse feature circuits, arXiv 2403.19647, section 3.1: "pass-through" and stop-gradients on e).
3. `self_check` compares logits and gradients of the spliced with the bare model; a run stores the figures, and a failed
   check stops it.
4. `ablated` runs with all nodes outside a mask at their counterfactual values; those inside are recomputed from the
   stream as it flows, as in that paper's evaluation.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuits.problem import Problem, SiteState
from data.errors import Mistake
from data.models import Edit
from data.words import Site
from training.dictionary import Dictionary

TOLERANCE = 1e-4
"""Relative gradient difference allowed: fp32 rounding through 30 blocks gives about 1e-6 to 1e-5."""


@dataclass(frozen=True)
class Leaves:
    """The leaves at one site in a spliced pass: latents `f` [batch pos d_sae], error `e` [batch pos d_model]."""

    f: Tensor
    e: Tensor


class Splice:
    """Edits that put dictionaries in place; `leaves` holds each site's latents and error once the model has run."""

    def __init__(self, dictionaries: Mapping[Site, Dictionary]) -> None:
        self.dictionaries = dictionaries
        self.leaves: dict[Site, Leaves] = {}

    @property
    def edits(self) -> dict[Site, Edit]:
        return {site: functools.partial(self._splice, site) for site in self.dictionaries}

    def _splice(self, site: Site, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        dictionary = self.dictionaries[site]
        fixed = x.detach()
        f = dictionary.encode(fixed).detach().requires_grad_()
        e = (fixed - dictionary.decode(f)).detach().requires_grad_()
        self.leaves[site] = Leaves(f, e)
        return dictionary.decode(f) + e + (x - fixed)


@dataclass(frozen=True)
class SelfCheck:
    """Spliced against bare model: largest logit difference, relative gradient difference by site, and the verdict."""

    logits: float
    gradients: dict[str, float]
    passed: bool


def self_check(problem: Problem, pairs: int = 4) -> SelfCheck:
    """Compares the spliced model with the bare one on the first pairs. Raises `Mistake` when they differ."""
    piece = problem.rows(0, pairs)
    bare_logits, bare = _bare_gradients(piece)
    splice = Splice(piece.dictionaries)
    logits = _logits(piece, splice.edits)
    piece.metric(logits).sum().backward()
    scale = float(bare_logits.abs().max())
    difference = float((logits.detach() - bare_logits).abs().max())
    gradients = {str(s): _mismatch(piece.dictionaries[s], splice.leaves[s], bare[s]) for s in piece.sites}
    passed = difference <= TOLERANCE * scale and max(gradients.values()) <= TOLERANCE
    check = SelfCheck(difference, gradients, passed)
    if not passed:
        raise Mistake(
            f"The spliced model differs from the bare one: logits by {difference:.2g} (largest {scale:.2g}), gradients "
            f"relatively by {max(gradients.values()):.2g}; {TOLERANCE:.0e} is allowed. Its effects would be wrong, so the "
            f"run stops here. Check that the dictionaries belong to this model and are in fp32."
        )
    return check


def _mismatch(dictionary: Dictionary, leaves: Leaves, bare: Tensor) -> float:
    """The larger relative difference of the error's gradient from the bare one, and of the latents' from its decoding."""
    assert leaves.e.grad is not None
    assert leaves.f.grad is not None
    decoded = bare @ dictionary.W_dec.T
    return max(_relative(leaves.e.grad, bare), _relative(leaves.f.grad, decoded))


def _relative(value: Tensor, reference: Tensor) -> float:
    norm = float(reference.norm())
    return float((value - reference).norm()) / norm if norm else float(value.norm())


def _bare_gradients(problem: Problem) -> tuple[Tensor, dict[Site, Tensor]]:
    values: dict[Site, Tensor] = {}

    def watch(site: Site, x: Tensor) -> Tensor:
        # Adding a zero leaf makes the graph begin at the first site without changing any value.
        values[site] = torch.zeros_like(x, requires_grad=True)
        return x + values[site]

    logits = _logits(problem, {site: functools.partial(watch, site) for site in problem.sites})
    problem.metric(logits).sum().backward()
    return logits.detach(), {site: value.grad for site, value in values.items() if value.grad is not None}


def _logits(problem: Problem, edits: Mapping[Site, Edit]) -> Tensor:
    logits = problem.model.run(problem.clean, edits=edits, last_only=True)
    assert logits is not None
    return logits


@dataclass(frozen=True)
class Mask:
    """Which nodes of a site are in the circuit: `latents` [pos d_sae], `errors` [pos]."""

    latents: Bool[Tensor, "pos d_sae"]
    errors: Bool[Tensor, " pos"]

    @property
    def size(self) -> int:
        return int(self.latents.sum() + self.errors.sum())

    def complement(self) -> Mask:
        return Mask(~self.latents, ~self.errors)


def empty_masks(problem: Problem) -> dict[Site, Mask]:
    """No node at any site."""
    return {
        site: Mask(
            torch.zeros(problem.positions, dictionary.latents, dtype=torch.bool),
            torch.zeros(problem.positions, dtype=torch.bool),
        )
        for site, dictionary in problem.dictionaries.items()
    }


@torch.no_grad()
def ablated(problem: Problem, masks: Mapping[Site, Mask]) -> Float[Tensor, " batch"]:
    """The metric of each pair's clean prompt with every node outside `masks` at its counterfactual value.

    A pass begins at the first site, whose stream is the clean one whatever the masks.
    """
    first, *rest = problem.sites
    scores: list[Tensor] = []
    for start in range(0, len(problem), problem.batch):
        piece = problem.rows(start, start + problem.batch)
        edit: dict[Site, Edit] = {
            site: functools.partial(_ablate, problem.dictionaries[site], masks[site], problem.states[site], start)
            for site in problem.sites
        }
        begin = edit[first](problem.states[first].x[start : start + problem.batch])
        assert begin is not None
        logits = piece.model.run(piece.clean, start=(first, begin), edits={s: edit[s] for s in rest}, last_only=True)
        assert logits is not None
        scores.append(piece.metric(logits))
    return torch.cat(scores)


def _ablate(dictionary: Dictionary, mask: Mask, state: SiteState, start: int, x: Tensor) -> Tensor:
    rows = slice(start, start + len(x))
    f = dictionary.encode(x)
    e = x - dictionary.decode(f)
    f = torch.where(mask.latents, f, state.f_patch[rows])
    e = torch.where(mask.errors[:, None], e, state.e_patch[rows])
    return dictionary.decode(f) + e
