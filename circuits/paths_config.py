"""What `lacewing paths` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.errors import Mistake, unknown
from data.sql import FORMATS


@dataclass(frozen=True)
class PathsConfig:
    """Show the strongest paths of a circuit, from the tokens to the metric."""

    circuit: str = field(metadata={"positional": True})
    """A circuit, by its id or the beginning of it."""
    limit: int = 20
    """How many paths."""
    format: str = "table"
    """table, json or csv."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise unknown("format", self.format, FORMATS)
        if self.limit < 1:
            raise Mistake(f"--limit {self.limit} shows nothing; give at least 1.")
