"""Panels: the pieces that the Feature and Circuit pages are made of, one file each.

1. A file of `panels/feature/` or `panels/circuit/` is a panel: PLACE (a column of its page), ORDER within it, and
   `render(shown)`. To add a panel, add a file.
2. `draw` draws those of one place; neighbours whose WIDTH (a share of the row; all of it if not said) leaves room share a
   row. A panel that meets a `Mistake` shows its sentence; the others are drawn all the same.
3. What a page has looked up for all of its panels is `ShownFeature` or `ShownCircuit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import streamlit as st

from dashboard.widgets import bits
from dashboard.widgets.graph import Block, Marks
from data import parts
from data.errors import Mistake
from data.queries.of_graph import Graph
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
    """The strongest first. A row is made when it is asked for: take few (`graph.touching`, `graph.edges.take`)."""
    visible: Sequence[Row]
    """The nodes that size and filters leave, always with the metric's own, tokens and those pinned, grouped or selected."""
    selected: str | None
    """The id of the selected node, or of the selected group (`g1`)."""
    size: int
    """How many of the most important nodes are shown."""
    graph: Graph
    """All of the circuit, as columns too."""
    drawn: np.ndarray
    """The numbers of the edges between visible nodes that the threshold leaves."""
    marks: Marks
    """What is pinned and grouped."""
    block: Block
    """What the canvas draws."""

    @property
    def chosen(self) -> Row | None:
        """The selected node, if it is one."""
        number = self.graph.numbers.get(self.selected or "")
        return None if number is None else self.nodes[number]

    @property
    def group(self) -> Mapping[str, Any] | None:
        """The selected group (id, name, nodes), if it is one."""
        return next((g for g in self.marks.groups if g["id"] == self.selected), None)


def draw(page: str, place: str, shown: ShownFeature | ShownCircuit) -> None:
    """Draws the panels of `page` (feature, circuit) whose PLACE is `place`, by ORDER."""
    found = parts.in_order(f"dashboard.panels.{page}").values()
    for row in _rows([panel for panel in found if place == panel.PLACE]):
        spots = st.columns([_width(panel) for panel in row], gap="medium") if len(row) > 1 else [st.container()]
        for panel, spot in zip(row, spots, strict=True):
            with spot:
                one(panel, shown)


def one(panel: ModuleType, shown: ShownFeature | ShownCircuit) -> None:
    """Draws one panel, or the sentence that says why it cannot be drawn."""
    try:
        panel.render(shown)
    except Mistake as mistake:
        bits.gap(str(mistake))


def _width(panel: ModuleType) -> float:
    return getattr(panel, "WIDTH", 1.0)


def _rows(found: Sequence[ModuleType]) -> list[list[ModuleType]]:
    """Neighbours together as long as their widths fit into one row."""
    rows: list[list[ModuleType]] = []
    for panel in found:
        if rows and sum(map(_width, rows[-1])) + _width(panel) < 1.01:
            rows[-1].append(panel)
        else:
            rows.append([panel])
    return rows
