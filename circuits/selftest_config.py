"""What `lacewing selftest` may be told; no torch here, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass

from circuits.config import at_least
from data.config import DEFAULT_MODEL


@dataclass(frozen=True)
class SelftestConfig:
    """Find known circuits with this installation and say which methods find them; nothing is downloaded."""

    model: str = DEFAULT_MODEL
    """A real model, in which dictionaries are spliced as a check, if it is on this machine."""
    steps: int = 10
    """Steps of the methods that have steps."""
    rotations: int = 1
    """Random rotations of each compiled program; the worst is shown."""
    seed: int = 0
    """Seed of the rotations."""

    def __post_init__(self) -> None:
        at_least(self, steps=1, rotations=1)
