"""The options of `lacewing collisions`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CollisionsConfig:
    """How many features share their label with others, word for word or nearly."""

    explanations: str = ""
    """The explain run whose labels are looked at; empty means the newest one that is done."""
    seed: int = 0
    """Decides the null and the bootstrap."""
