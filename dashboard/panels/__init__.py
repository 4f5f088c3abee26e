"""Panels: the pieces that the Feature and Circuit pages are made of, one file each.

1. A file of `panels/feature/` or `panels/circuit/` is a panel: PLACE (a column of its page), ORDER within it, and
   `render(shown)`. To add a panel, add a file.
2. `draw` draws those of one place. A panel that meets a `Mistake` shows its sentence; the others are drawn all the same.
3. What a page has looked up for all of its panels is `ShownFeature` or `ShownCircuit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.widgets import bits
from data import parts
from data.errors import Mistake
from data.words import Feature

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ShownFeature:
    """The feature that the address names, and its record (`queries.feature`)."""

    feature: Feature
    record: Row


@dataclass(frozen=True)
class ShownCircuit:
    """The circuit that the address names, with all of its nodes and edges, and what of it is shown."""

    circuit: Row
    nodes: Sequence[Row]
    edges: Sequence[Row]
    visible: Sequence[Row]
    """The nodes that the size leaves, the metric's own and the selected one among them."""
    selected: str | None
    """The id of the selected node."""
    size: int
    """How many of the most important nodes are shown."""


def draw(page: str, place: str, shown: ShownFeature | ShownCircuit) -> None:
    """Draws the panels of `page` (feature, circuit) whose PLACE is `place`, by ORDER."""
    package = f"dashboard.panels.{page}"
    found = [parts.load(package, name) for name in parts.names(package)]
    for panel in sorted((p for p in found if place == p.PLACE), key=lambda p: p.ORDER):
        try:
            panel.render(shown)
        except Mistake as mistake:
            bits.gap(str(mistake))
