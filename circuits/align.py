"""Prompts of unequal length, side by side: padded, and which position corresponds to which.

1. Prompts are padded at the right, where causal attention cannot see it; a prompt's score is read at its own last token.
2. Positions correspond when they have the same role and the same distance from the role's end, so that "the old key" and
   "the key" share their noun. A clean position without a partner takes the role's first token of the counterfactual.
3. Effects are gathered by *place*: every token position when all prompts have one shape, every role, or all in one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from data.errors import Mistake
from data.words import UNMARKED, Pair, order_of

WAYS = ("auto", "each", "role", "sum")


@dataclass(frozen=True, eq=False)
class Aligned:
    """Pairs as tensors; -1 stands at padding."""

    clean: Int[Tensor, "batch pos"]
    patch: Int[Tensor, "batch patch_pos"]
    last: Int[Tensor, " batch"]
    patch_last: Int[Tensor, " batch"]
    partner: Int[Tensor, "batch pos"]
    """The position of the counterfactual prompt that corresponds (0 at padding)."""
    place: Int[Tensor, "batch pos"]
    column: Int[Tensor, "batch pos"]
    """Equal for corresponding positions of different prompts."""
    places: tuple[str, ...]
    """The role that each place has."""


def align(pairs: Sequence[Pair], way: str = "auto") -> Aligned:
    """Lines `pairs` up. Raises `Mistake` when their roles differ, or their lengths do and there are no roles to go by."""
    orders = dict.fromkeys(order_of(pair.roles) for pair in pairs)
    if len(orders) > 1:
        one, other = ([role for role in order if role != "prefix"] for order in list(orders)[:2])
        raise Mistake(
            f"The pairs of one problem need the same roles in one order; some of these have {', '.join(one)}, "
            f"others {', '.join(other)}."
        )
    order = next(iter(orders))
    usual = usual_way(pairs)
    if usual != "each":
        _comparable(way, order)
    column = _pad([_columns(pair.roles, order) for pair in pairs], -1)
    place, places = _places(column, pairs, order, usual if way == "auto" else way)
    patch = [pair.counterfactual or pair.clean for pair in pairs]
    return Aligned(
        clean=_pad([pair.clean for pair in pairs], 0),
        patch=_pad(patch, 0),
        last=torch.tensor([len(pair.clean) - 1 for pair in pairs]),
        patch_last=torch.tensor([len(row) - 1 for row in patch]),
        partner=_pad([_partners(pair) for pair in pairs], 0),
        place=place,
        column=_dense(column),
        places=places,
    )


def usual_way(pairs: Sequence[Pair]) -> str:
    """What `auto` stands for: `each` position where all prompts have one shape, and `role` otherwise."""
    return "each" if len({r for pair in pairs for r in (pair.roles, pair.counter_roles) if r}) == 1 else "role"


def _comparable(way: str, order: Sequence[str]) -> None:
    """Raises `Mistake` when prompts of unequal length cannot be compared in this way."""
    if way == "each":
        raise Mistake(
            "These prompts have unequal lengths, so their token positions do not correspond. Gather effects by role "
            "(--positions role) or over all positions (--positions sum)."
        )
    if way != "sum" and set(order) <= {"prefix", UNMARKED}:
        raise Mistake(
            "These prompts have unequal lengths and no roles, so nothing says which tokens correspond. Mark the roles in "
            "every prompt, as in 'The {subject:old key} near the {noun:cabinet}', or gather effects over all positions "
            "(--positions sum)."
        )


def _places(column: Tensor, pairs: Sequence[Pair], order: Sequence[str], way: str) -> tuple[Tensor, tuple[str, ...]]:
    inside = column >= 0
    if way == "sum":
        return torch.where(inside, 0, -1), ("all",)
    if way == "role":
        roles = {role: number for number, role in enumerate(order)}
        return _pad([[roles[role] for role in pair.roles] for pair in pairs], -1), tuple(order)
    return torch.arange(column.shape[1]).expand_as(column).clone(), pairs[0].roles


def _from_end(roles: Sequence[str]) -> list[int]:
    """How many tokens of the same role follow each token."""
    seen: dict[str, int] = {}
    counts: list[int] = []
    for role in reversed(roles):
        counts.append(seen.get(role, 0))
        seen[role] = counts[-1] + 1
    return counts[::-1]


def _columns(roles: Sequence[str], order: Sequence[str]) -> list[int]:
    number = {role: i for i, role in enumerate(order)}
    return [number[role] * 10_000 + back for role, back in zip(roles, _from_end(roles), strict=True)]


def _partners(pair: Pair) -> list[int]:
    if not pair.paired:
        return list(range(len(pair.clean)))
    places: dict[str, list[int]] = {}
    for position, role in enumerate(pair.counter_roles):
        places.setdefault(role, []).append(position)
    return [
        places[role][max(len(places[role]) - 1 - back, 0)]
        for role, back in zip(pair.roles, _from_end(pair.roles), strict=True)
    ]


def _dense(column: Tensor) -> Tensor:
    """The same keys, counted from 0 without gaps."""
    known = column[column >= 0].unique()
    return torch.where(column >= 0, torch.searchsorted(known, column), -1)


def _pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])
