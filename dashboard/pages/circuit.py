"""Circuit: which features carry a behaviour, how strongly, how sure that is, and how much of it they explain.

1. The address names everything shown: `circuit?circuit=ID&node=NODE&size=N&view=ID` (`panels/circuit/_address.py`). A click
   only writes it.
2. The panels of `panels/circuit/` draw it: PLACE `graph` is the wide column, `side` the one beside it, `below` the rest.
3. Estimated and exact effects are told apart everywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import panels, showcase, source, steps
from dashboard.panels import ShownCircuit
from dashboard.panels.circuit import _address
from dashboard.panels.circuit._picture import picture
from dashboard.widgets import bits, tokens
from data import queries
from data.errors import unknown
from data.queries import of_graph
from data.store import Workspace

TITLE = "Circuit"
ICON = ":material/account_tree:"
GROUP = "Circuits"
ORDER = 22


def examples(workspace: Workspace) -> showcase.Queries:
    """A circuit, and one of its nodes."""
    best = showcase.best(workspace)
    if not best:
        return {"circuit": {}}
    return {"circuit": {"circuit": best.circuit}, "node": {"circuit": best.circuit, "node": best.node}}


def render() -> None:
    """Draws the page."""
    circuits = source.ask(queries.circuits)
    if not circuits:
        bits.heading("Circuit")
        bits.gap("No circuit has been traced yet.", steps.command(source.workspace(), "circuit agreement"))
        return
    wanted = st.query_params.get("circuit") or _address.circuit_of_view() or circuits[0]["circuit"]
    circuit = source.ask(queries.circuit, wanted)
    whole = source.share(of_graph.graph, circuit["circuit"], state=source.ask(of_graph.state, circuit["circuit"]))
    _head(circuit, circuits)
    if not whole.nodes:
        bits.gap(
            "No node is stored for this circuit: the run that traced it did not finish.",
            steps.command(source.workspace(), "circuit agreement"),
        )
        return
    with st.container():  # always there, so that a sentence moves nothing below: the graph would be mounted anew
        if problem := st.session_state.pop(_address.PROBLEM, ""):
            bits.gap(problem)
        shown = _shown(circuit, whole)
    left, right = st.columns([1.95, 1], gap="medium")
    with right:  # first, for it is what a click on a node waits for
        panels.draw("circuit", "side", shown)
    with left:
        panels.draw("circuit", "graph", shown)
    panels.draw("circuit", "below", shown)


def _shown(circuit: Mapping[str, Any], whole: of_graph.Graph) -> ShownCircuit:
    """What the address shows of the circuit."""
    marks = _address.marks(circuit["circuit"], whole.numbers)
    selected = _selected(whole, [group["id"] for group in marks.groups])
    choice = _address.choice(whole)
    found = picture(whole, circuit["prompt"] or {}, choice, marks, selected)
    return ShownCircuit(
        circuit, whole.nodes, whole.edges, found.visible, selected, choice.size, whole, found.drawn, marks, found.block
    )


def _selected(whole: of_graph.Graph, groups: Sequence[str]) -> str | None:
    asked = st.query_params.get("node")
    if asked and asked not in whole.numbers and asked not in groups:
        near = difflib.get_close_matches(asked, whole.numbers, n=3, cutoff=0.5)
        bits.mistake(f"{unknown('node in this circuit', asked, near)} It has {len(whole.nodes)}; the tables list them.")
        return None
    return asked or None


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
