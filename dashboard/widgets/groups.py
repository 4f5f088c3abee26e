"""Groups of nodes and suggested ones, as two lists on which one acts: name, split, take apart; accept, dismiss.

What a person does comes back as one trigger, `act`: what to do, on which group or suggestion, and the name given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.widgets.bits import signed
from dashboard.widgets.component import mount, triggered
from dashboard.widgets.tokens import readable


@dataclass(frozen=True)
class Group:
    """A group as the list shows it."""

    identity: str
    name: str
    size: int
    effect: float
    selected: bool


@dataclass(frozen=True)
class Offer:
    """A suggested group: its key, the name it would get, why, and how many nodes it has."""

    key: str
    name: str
    reason: str
    size: int


def groups(
    key: str, made: Sequence[Group], offers: Sequence[Offer], act: Callable[[Mapping[str, Any]], None], none: str = ""
) -> None:
    """Shows both lists; `none` says why nothing is suggested."""
    data = {
        "groups": [
            {"id": g.identity, "name": g.name, "size": g.size, "effect": signed(g.effect), "up": g.effect >= 0,
             "selected": g.selected}
            for g in made
        ],
        "offers": [
            {"key": o.key, "name": readable(o.name, 60), "reason": readable(o.reason, 160), "size": o.size} for o in offers
        ],
        "none": none,
    }  # fmt: skip
    mount("groups", data, key, on_act_change=lambda: act(triggered(key, "act")))
