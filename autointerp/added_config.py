"""The options of `lacewing added`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AddedConfig:
    """What each label adds over the best executable rule of its feature, on the windows that its scorers judged."""

    scores: str = ""
    """The score run; empty means the newest one that is done."""
    seed: int = 0
    """Decides the bootstrap."""
