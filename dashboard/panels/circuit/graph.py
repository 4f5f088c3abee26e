"""The graph of the nodes shown, with its legend."""

from __future__ import annotations

import streamlit as st

from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import pick
from dashboard.widgets import graph

PLACE = "graph"
ORDER = 1


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    prompt = shown.circuit["prompt"] or {}
    graph.graph("graph", shown.visible, shown.edges, prompt=prompt, selected=shown.selected, pick=pick)
    st.html(graph.LEGEND)
