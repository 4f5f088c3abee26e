"""What `lacewing export-circuit` and `import-circuit` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from data import parts


@dataclass(frozen=True)
class ExportCircuitConfig:
    """Write a circuit to a file that other tools read."""

    circuit: str = field(metadata={"positional": True})
    """The circuit's id."""
    to: str
    """The file to make; it must not exist yet."""
    format: str = "circuit_tracer"
    """How to write it: a file of circuits/formats."""

    def __post_init__(self) -> None:
        parts.load("circuits.formats", self.format)


@dataclass(frozen=True)
class ImportCircuitConfig:
    """Bring in a circuit that another tool, or another workspace, has written."""

    source: str = field(metadata={"positional": True})
    """The file."""
    format: str | None = None
    """How it is written: a file of circuits/formats; none: recognised from its content."""

    def __post_init__(self) -> None:
        if self.format is not None:
            parts.load("circuits.formats", self.format)
