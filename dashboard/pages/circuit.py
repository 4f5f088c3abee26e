"""Circuit: which features carry a behaviour, how strongly, how sure that is, and how much of it they explain.

1. The address names everything shown: `circuit?circuit=ID&node=NODE&size=N`. A click only writes it.
2. The panels of `panels/circuit/` draw it: PLACE `graph` is the wide column, `side` the one beside it, `below` the rest.
3. Estimated and exact effects are told apart everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import panels, source, steps
from dashboard.panels import ShownCircuit
from dashboard.widgets import bits, tokens
from data import queries
from data.errors import Mistake, unknown

TITLE = "Circuit"
ICON = ":material/account_tree:"
ORDER = 4
SIZE = 150
"""Nodes shown at first: about what can be told apart on the canvas."""


def render() -> None:
    """Draws the page."""
    circuits = source.ask(queries.circuits)
    if not circuits:
        bits.heading("Circuit")
        bits.gap("No circuit has been traced yet.", steps.command(source.workspace(), "circuit agreement"))
        return
    wanted = st.query_params.get("circuit") or circuits[0]["circuit"]
    circuit = source.ask(queries.circuit, wanted)
    nodes, edges = source.ask(queries.nodes, circuit["circuit"]), source.ask(queries.edges, circuit["circuit"])
    _head(circuit, circuits)
    if not nodes:
        bits.gap(
            "No node is stored for this circuit: the run that traced it did not finish.",
            steps.command(source.workspace(), "circuit agreement"),
        )
        return
    selected = _selected(nodes)
    size = _size(sum(1 for n in nodes if n["kind"] != "logit"))
    visible = [n for n in nodes if n["rank"] <= size or n["kind"] == "logit" or n["node"] == selected]
    shown = ShownCircuit(circuit, nodes, edges, visible, selected, size)
    left, right = st.columns([2.15, 1], gap="medium")
    with left:
        panels.draw("circuit", "graph", shown)
    with right:
        panels.draw("circuit", "side", shown)
    panels.draw("circuit", "below", shown)


def _selected(nodes: Sequence[Mapping[str, Any]]) -> str | None:
    asked = st.query_params.get("node")
    known = {n["node"] for n in nodes}
    if asked and asked not in known:
        bits.mistake(f"{unknown('node in this circuit', asked, ())} It has {len(known)} others; they are listed below.")
        return None
    return asked or None


def _size(most: int) -> int:
    text = st.query_params.get("size", "")
    if text and not (text.isdigit() and int(text) > 0):
        raise Mistake(
            f"size = {text!r} in the address is not a number of nodes; "
            f"it should be 1 to {most}, such as {min(SIZE, most)}."
        )
    return min(int(text or SIZE), most)


def _head(circuit: Mapping[str, Any], circuits: Sequence[Mapping[str, Any]]) -> None:
    method = circuit["method"].replace("_", " ")
    crumb = f"{circuit['model_name']} › {circuit['task']}"
    how = (
        f"{method} · {circuit['metric'].replace('_', ' ')} · {circuit['ablation']} ablation · {circuit['pairs']} pairs"
    )
    if len(circuits) > 1:
        title, others = st.columns([4, 1], vertical_alignment="bottom")
        with others:
            _others(circuit["circuit"], circuits)
    else:
        title = st.container()
    with title:
        bits.heading(f"Circuit {circuit['circuit'][:8]}", crumb=crumb, detail=how)
        st.html(_prompt(circuit["prompt"] or {}))


def _others(shown: str, circuits: Sequence[Mapping[str, Any]]) -> None:
    with st.popover(f"{len(circuits)} circuits"):
        for c in circuits:
            here = " (shown)" if c["circuit"] == shown else ""
            bits.link("circuit", f"{c['task']} {c['circuit'][:8]}, {c['nodes']} nodes{here}", {"circuit": c["circuit"]})


def _prompt(prompt: Mapping[str, Any]) -> str:
    def side(text: str, answer: str, kind: str) -> str:
        said = bits.escape(tokens.readable(prompt.get(text) or "", 240))
        return f'<span>{said} <i class="{kind}">{bits.escape(tokens.readable(prompt.get(answer) or ""))}</i></span>'

    if not prompt.get("text"):
        return '<div class="lw-legend">No example prompt is stored.</div>'
    clean, counter = side("text", "answer", "lw-blue"), side("counter_text", "counter_answer", "lw-red")
    return f'<div class="lw-legend">{clean}<span>against</span>{counter}</div>'
