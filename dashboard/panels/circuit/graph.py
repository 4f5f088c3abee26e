"""The graph of the nodes shown, what it leaves out, and the filters that decide that."""

from __future__ import annotations

import math

import streamlit as st

from dashboard.panels import ShownCircuit
from dashboard.panels.circuit import _address
from dashboard.panels.circuit._address import SIGNS, Choice, write
from dashboard.panels.circuit._views import offer
from dashboard.widgets import bits, graph
from data.queries.of_graph import Graph

PLACE = "graph"
ORDER = 1
DENSITIES = {1.0: "any", 0.5: "0.5", 0.1: "0.1", 0.03: "0.03", 0.01: "0.01", 0.001: "0.001"}


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    identity, choice = shown.circuit["circuit"], _address.choice(shown.graph)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(f'<div class="lw-legend">{_counted(shown)}</div>')
        with st.popover(f"Show ({choice.filters})" if choice.filters else "Show"):
            _filters(shown.graph, choice)
        with st.popover("Views"):
            offer(shown)
    graph.graph(
        "graph",
        shown.block,
        marks=shown.marks,
        selected=shown.selected,
        pick=_address.pick,
        mark=lambda marks: _address.keep(identity, _address.read(marks, shown.graph.numbers)),
        file=f"circuit-{identity}",
    )
    st.html(graph.LEGEND)


def _counted(shown: ShownCircuit) -> str:
    """How much of the circuit is shown, and how much of that no dictionary explains."""
    graph, here = shown.graph, [shown.graph.numbers[n["node"]] for n in shown.visible]
    size, errors = float(graph.sizes[here].sum()), float(graph.sizes[here][graph.errors[here]].sum())
    mine, whole = int((~graph.metric[here]).sum()), float(graph.sizes.sum())
    parts = [
        f"<i>{mine:,} of {shown.graph.most:,} nodes</i>, {_share(size, whole)} of all |effect|",
        f"<i>{len(shown.drawn):,} of {len(shown.edges):,} edges</i>",
        f"<i>SAE errors {_share(errors, size)}</i> of the |effect| shown",
    ]
    return "".join(f"<span>{part}</span>" for part in parts)


def _share(part: float, whole: float) -> str:
    return bits.percent(part / whole if whole else None)


def _filters(graph: Graph, choice: Choice) -> None:
    """What is shown, each written to the address; the metric's own, pinned and selected nodes always are."""
    left, right = st.columns(2)
    with left:
        _number("size", "Most important nodes", choice.size, graph.most)
    with right:
        _number("edges", "Strongest edges", choice.edges or len(graph.edges), len(graph.edges))
    _several("kinds", "Kinds", [kind for kind in graph.kinds if kind != "logit"], choice.kinds)
    _several("sites", "Sites", graph.sites, choice.sites)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state["show_sign"] = choice.sign or "both"
        st.selectbox("Sign", ("both", *SIGNS), key="show_sign", on_change=_sign)
        st.session_state["show_density"] = min(DENSITIES, key=lambda d: abs(math.log(d / choice.density)))
        st.selectbox(
            "Density at most", list(DENSITIES), format_func=DENSITIES.__getitem__, key="show_density", on_change=_density,
            help="Latents that are active at a larger share of tokens mean too many things; they are hidden.",
        )  # fmt: skip
    st.session_state["show_verified"] = choice.verified
    st.toggle("Only verified nodes", key="show_verified", on_change=_verified)


def _number(name: str, label: str, value: int, most: int) -> None:
    key = f"show_{name}"
    st.session_state[key] = min(value, max(most, 1))

    def changed() -> None:
        asked = st.session_state[key]
        write(name, "" if name == "edges" and asked == most else str(asked))

    st.number_input(f"{label} (of {most:,})", 1, max(most, 1), key=key, on_change=changed)


def _several(name: str, label: str, known: list[str], chosen: tuple[str, ...]) -> None:
    if len(known) < 2:
        return
    key = f"show_{name}"
    st.session_state[key] = list(chosen)
    st.pills(
        f"{label} (all if none is chosen)",
        known,
        selection_mode="multi",
        key=key,
        on_change=lambda: write(name, ",".join(st.session_state[key])),
    )


def _sign() -> None:
    asked = st.session_state["show_sign"]
    write("sign", asked if asked in SIGNS else "")


def _density() -> None:
    asked = st.session_state["show_density"]
    write("density", "" if asked == 1.0 else str(asked))


def _verified() -> None:
    write("verified", "true" if st.session_state["show_verified"] else "")
