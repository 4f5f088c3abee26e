"""Plans: each says what one dictionary of a run is to be.

1. A config names architectures, sites, and one value (train) or several (sweep) of k, latents, rate and seed.
2. `plans` multiplies them out; each architecture says where it goes (an SAE at each site, a transcoder across an MLP).
3. Dictionaries of one architecture, options and shape are trained as one *stack* (`stacks_of`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any

from jaxtyping import Float
from torch import Tensor

from data import parts
from data.errors import Mistake
from data.words import Site

FOLDER = "training.architectures"


@dataclass(frozen=True)
class Affine:
    """How raw activations are seen in training: (raw - mean) x scale, both [d], several sites one after another."""

    mean: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]


@dataclass(frozen=True)
class Plan:
    """One dictionary to be trained."""

    architecture: str
    options: Any
    """The architecture's own settings."""
    reads: tuple[Site, ...]
    writes: tuple[Site, ...]
    latents: int
    k: float
    learning_rate: float
    seed: int

    @property
    def place(self) -> str:
        """Where it is trained, for people: one site, or `reads>writes`; several joined by +."""
        reads, writes = ("+".join(map(str, sites)) for sites in (self.reads, self.writes))
        return reads if reads == writes else f"{reads}>{writes}"

    @property
    def label(self) -> str:
        """What it is, in a few words."""
        return f"{self.place} {self.architecture} {self.latents} k={self.k:g}"

    @property
    def name(self) -> str:
        """What tells it from the others of its run."""
        own = "".join(f" {f.name}={getattr(self.options, f.name)}" for f in _unusual(self.options))
        return f"{self.label} lr={self.learning_rate:g} seed={self.seed}{own}"


def _unusual(options: Any) -> list[Field[Any]]:
    """The settings that are not at their defaults."""
    return [f for f in fields(options) if getattr(options, f.name) != f.default]


def plans(
    architecture: str,
    sites: tuple[Site, ...],
    *,
    latents: Sequence[int],
    k: Sequence[float],
    learning_rate: Sequence[float],
    seed: Sequence[int],
) -> list[Plan]:
    """Every combination, architectures outermost and seeds innermost; raises `Mistake` when one is named twice."""
    made = [
        Plan(part.name, part.options, place.reads, place.writes, wide, active, rate, start)
        for part in parts.choices(FOLDER, architecture)
        for place in parts.load(FOLDER, part.name).places(sites)
        for wide, active, rate, start in itertools.product(latents, k, learning_rate, seed)
    ]
    for plan in made:
        if plan.k > plan.latents:
            raise Mistake(
                f"k = {plan.k:g} is more than latents = {plan.latents}: no more latents can be active than there are. "
                f"Lower --k or raise --latents."
            )
    if len(set(made)) < len(made):
        raise Mistake("The same dictionary is asked for twice; name each architecture and value once.")
    return made


def stacks_of(made: Iterable[Plan]) -> list[list[int]]:
    """Which plans can be trained side by side in the same matrix products: indices, in order."""
    groups: dict[Any, list[int]] = {}
    for index, plan in enumerate(made):
        key = (plan.architecture, plan.options, plan.latents, len(plan.reads), len(plan.writes))
        groups.setdefault(key, []).append(index)
    return list(groups.values())
