"""What is done to nodes, and that it holds in every pass. One file per way.

1. A part has `changed(seen, amount)`, which gives the new value of every coordinate from the value as it flows; `AMOUNT`,
   what its number means, or None when it takes none; `REFERENCE`, the only reference that it makes sense with, or None;
   `WHOLE`, whether it can also be done to a vector: an error, a head, a whole site.
2. `Change` puts it into a model's pass. At each site the stream is encoded as it arrives, the new values replace those of
   the nodes reached, and what they change is decoded and added: everything else stays bit for bit what it was.
3. Nodes without a position are reached at every position, those of generated tokens too. Where there is no reference value
   (a generated token has no counterfactual), it is the mean of the node's reference values over the prompt.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.problem import Problem
from circuits.targets import Target
from data import parts
from data.errors import Mistake
from data.models import Edit
from data.words import Site


@dataclass(frozen=True, eq=False)
class Seen:
    """Some coordinates where an intervention takes place: as they flow, and at reference [rows pos coordinates]."""

    value: Float[Tensor, "rows pos coordinates"]
    reference: Float[Tensor, "rows pos coordinates"]


@dataclass(frozen=True, eq=False)
class Reach:
    """Which nodes of a site are reached at each place; the last row is for tokens beyond the prompt."""

    nodes: Bool[Tensor, "places_and_beyond nodes"]
    errors: Bool[Tensor, " places_and_beyond"]


def load(name: str, amount: float | None) -> ModuleType:
    """The part `name`. Raises `Mistake` when there is none, or it lacks its amount or takes none."""
    part = parts.load("circuits.interventions", name)
    if part.AMOUNT and amount is None:
        raise Mistake(f"--do {name} needs --amount, {part.AMOUNT}.")
    if amount is not None and not part.AMOUNT:
        raise Mistake(f"--do {name} takes no amount; --amount {amount:g} would mean nothing. Leave it out.")
    return part


@dataclass(frozen=True, eq=False)
class Change:
    """An intervention on a problem's prompts: `part` done by `amount` to the nodes in `reached`."""

    problem: Problem
    part: ModuleType
    amount: float
    reached: Mapping[Site, Reach]

    @classmethod
    def of(cls, problem: Problem, part: ModuleType, amount: float | None, targets: Sequence[Target]) -> Change:
        """The change of `targets`. Raises `Mistake` when one does not exist, or cannot be changed in this way."""
        reached: dict[Site, Reach] = {}
        for target in targets:
            one = target.check(problem)
            if not part.WHOLE and (target.latent is None or one.width > 1):
                name = part.__name__.rsplit(".", 1)[-1]
                raise Mistake(
                    f"{target} is a vector, which has no one value to {name}. Ablate, scale or swap it, or {name} latents."
                )
            _reach(reached, problem, target)
        # Both are found on demand, by passes of their own: within an edited pass these would be edited too.
        _ = problem.states, problem.clean_metric
        return cls(problem, part, amount or 0.0, dict(sorted(reached.items())))

    def edits(self, rows: Int[Tensor, " rows"]) -> dict[Site, Edit]:
        """The edits for a pass over the prompts of pairs `rows`, or over these and tokens after them."""
        return {site: functools.partial(self.at, site, rows) for site in self.reached}

    def at(self, site: Site, rows: Int[Tensor, " rows"], x: Float[Tensor, "rows pos d_model"]) -> Tensor:
        """`x` with the nodes of `site` changed."""
        one, state, reach = self.problem.mediators[site], self.problem.states[site], self.reached[site]
        place = self._place(rows, x.shape[1])
        f = one.encode(x)
        e = x - one.decode(f)
        new = torch.where(one.spread(reach.nodes)[place], self._new(f, state.f_patch[rows], place), f)
        error = torch.where(reach.errors[place][..., None], self._new(e, state.e_patch[rows], place), e)
        return x + (one.decode(new) - one.decode(f)) + (error - e)

    def _new(self, value: Tensor, reference: Tensor, place: Tensor) -> Tensor:
        return self.part.changed(Seen(value, _beyond(reference, place)), self.amount)

    def _place(self, rows: Tensor, length: int) -> Int[Tensor, "rows pos"]:
        """The place of each position; -1, which indexes a reach's last row, beyond the prompt."""
        place = self.problem.place[rows][:, :length]
        return torch.nn.functional.pad(place, (0, length - place.shape[1]), value=-1)


def _beyond(reference: Float[Tensor, "rows own width"], place: Int[Tensor, "rows pos"]) -> Tensor:
    """Reference values at all positions: the prompt's own, and beyond it their mean."""
    own = torch.nn.functional.pad(reference, (0, 0, 0, max(place.shape[1] - reference.shape[1], 0)))
    own, inside = own[:, : place.shape[1]], (place >= 0)[..., None]
    mean = (own * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True).clamp_min(1)
    return torch.where(inside, own, mean)


def _reach(reached: dict[Site, Reach], problem: Problem, target: Target) -> None:
    rows = len(problem.places) + 1
    if target.site not in reached:
        count = problem.mediators[target.site].count
        reached[target.site] = Reach(torch.zeros(rows, count, dtype=torch.bool), torch.zeros(rows, dtype=torch.bool))
    reach = reached[target.site]
    at: Any = slice(None) if target.place is None else target.place
    if target.latent is None:
        reach.errors[at] = True
    else:
        reach.nodes[at, target.latent] = True
