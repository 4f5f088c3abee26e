"""Faithfulness and completeness by size, with the slider that chooses how many nodes are shown."""

from __future__ import annotations

import streamlit as st

from dashboard import source, steps
from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import choose
from dashboard.widgets import bits, plot
from data import queries

PLACE = "graph"
ORDER = 5
LEGEND = (
    '<div class="lw-legend"><span class="lw-blue">━ faithfulness (only these kept)</span>'
    '<span class="lw-red">╍ completeness (only these removed)</span><span>┈ the same for random nodes</span></div>'
)


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    circuit = shown.circuit
    bits.section(
        "Faithfulness and completeness", "held-out pairs, 95 % intervals; drag to choose how many nodes are shown"
    )
    rows = source.ask(queries.evaluations, circuit["circuit"])
    found = [row for row in rows if row["mask"] == "nodes" and row["ablation"] == circuit["ablation"]]
    if found:
        plot.curve("curve", found, size=shown.size, most=len(shown.nodes) - 1, choose=choose)
        st.html(LEGEND)
    else:
        bits.gap("This circuit has not been evaluated.", steps.command(source.workspace(), "circuit agreement"))
