"""What `lacewing diff` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.errors import Mistake, unknown
from data.sql import FORMATS


@dataclass(frozen=True)
class DiffConfig:
    """Say which nodes and edges of two circuits differ, at a stated false-discovery rate."""

    left: str = field(metadata={"positional": True})
    """A circuit, by its id or the beginning of it."""
    right: str = field(metadata={"positional": True})
    """The circuit it is compared with: differences are this one minus the other."""
    rate: float = 0.05
    """Share of the findings that may be false (Benjamini and Hochberg)."""
    nodes: int = 0
    """Most nodes that are tested, the largest of both circuits together; 0 is as many as the two hold."""
    edges: int = 0
    """Most edges that are tested; 0 is as many as nodes."""
    likeness: float = 0.7
    """Least likeness, up to 1, at which latents of two dictionaries are taken for the same feature."""
    checkpoints: bool = False
    """Compare circuits of two models, as two checkpoints of one are."""
    limit: int = 30
    """Findings shown in a table, the most certain first; all are in the workspace's table differences."""
    format: str = "table"
    """table, json or csv."""
    seed: int = 0
    """Seed of the permutations."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise unknown("format", self.format, FORMATS)
        if not 0 < self.rate < 1:
            raise Mistake(f"--rate {self.rate} is no share of false findings; give one between 0 and 1, such as 0.05.")
        if not 0 < self.likeness <= 1:
            raise Mistake(f"--likeness {self.likeness} is out of range; give one between 0 and 1, such as 0.7.")
        if min(self.nodes, self.edges) < 0 or self.limit < 1:
            raise Mistake("--nodes and --edges are at least 0, --limit at least 1.")
