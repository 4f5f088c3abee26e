"""The nodes and edges shown, as tables: the graph's accessible twin, and what one takes away as CSV.

A search narrows both to nodes whose id, role or explanation holds all of its words; the address keeps it as `find`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import pick, write
from dashboard.widgets import bits, graph, tokens
from dashboard.widgets.table import Column, Options, cell, effect, row, table

PLACE = "below"
ORDER = 1
MOST = 250
"""Rows of a table; more would take longer to send than to find by a search."""


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    words = st.query_params.get("find", "").lower().split()
    found = [n for n in shown.visible if _holds(n, words)] if words else shown.visible
    left, right = st.columns([1.45, 1], gap="medium")
    with left:
        which = f"{len(found):,} of the {len(shown.visible):,} shown" if words else f"the {len(shown.visible):,} shown"
        most = f"; the first {MOST}" if len(found) > MOST else ""
        bits.section("Nodes", f"{which}{most}, with 95 % intervals over pairs")
        _search()
        _nodes(shown.circuit, found[:MOST], shown.selected)
    with right:
        inside = _inside(shown, {n["node"] for n in found}) if words else shown.drawn
        bits.section("Edges", f"the strongest {min(len(inside), MOST)} of {len(inside):,} between the nodes shown")
        _edges(shown.circuit, shown.graph.edges.take(inside[:MOST]))


def _search() -> None:
    st.session_state["find_nodes"] = st.query_params.get("find", "")
    st.text_input(
        "Find nodes",
        key="find_nodes",
        placeholder="Words of an id, a role or an explanation",
        label_visibility="collapsed",
        on_change=lambda: write("find", st.session_state["find_nodes"].strip()),
    )


def _holds(node: Mapping[str, Any], words: Sequence[str]) -> bool:
    text = f"{node['node']} {node['role']} {node['text'] or ''}".lower()
    return all(word in text for word in words)


def _inside(shown: ShownCircuit, names: set[str]) -> np.ndarray:
    """The edges shown that touch one of these nodes."""
    wanted = np.array([n["node"] in names for n in shown.nodes])
    source, target = shown.graph.edges.source[shown.drawn], shown.graph.edges.target[shown.drawn]
    return shown.drawn[wanted[source] | wanted[target]]


def _nodes(circuit: Mapping[str, Any], shown: Sequence[Mapping[str, Any]], selected: str | None) -> None:
    if not shown:
        bits.gap("No node shown holds these words.")
        return
    top = max((abs(n["effect"]) for n in shown if n["kind"] != "logit"), default=0.0)
    columns = [
        Column("#", "num"),
        Column("Node", "mono line"),
        Column("Role", "line"),
        Column("Effect", "num"),
        Column("Interval", "num"),
        Column("Exact", "num", "measured by patching; a dash if only estimated"),
        Column("Explanation", "clip"),
    ]
    rows = [
        row(
            [
                n["rank"],
                n["node"],
                n["role"],
                effect(n["effect"], top if n["kind"] != "logit" else 0.0),
                cell(graph.bracket(n), tone="quiet"),
                effect(n["verified"]),
                cell(said(n), title=tokens.readable(n["text"] or "", 400), **({} if n["text"] else {"tone": "quiet"})),
            ],
            n["node"],
        )
        for n in shown
    ]
    options = Options("Nodes", height=380, csv=f"nodes-{circuit['circuit']}.csv", selected=selected)
    table("nodes", columns, rows=rows, options=options, pick=pick)


def _edges(circuit: Mapping[str, Any], edges: Sequence[Mapping[str, Any]]) -> None:
    if not edges:
        bits.gap("No edge is stored between the nodes shown. Show more nodes with the slider on the curve.")
        return
    top = abs(edges[0]["effect"])
    columns = [
        Column("From", "mono clip"),
        Column("To", "mono clip"),
        Column("Effect", "num"),
        Column("Interval", "num"),
        Column("Exact", "num", "measured by path patching; a dash if only estimated"),
    ]
    rows = [
        row(
            [*_ends(e), effect(e["effect"], top), cell(graph.bracket(e), tone="quiet"), effect(e["verified"])],
            e["source"],
        )
        for e in edges
    ]
    options = Options("Edges", height=380, csv=f"edges-{circuit['circuit']}.csv")
    table("edges", columns, rows=rows, options=options, pick=pick)


def _ends(edge: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cell(edge[end], title=edge[end]) for end in ("source", "target")]


def said(node: Mapping[str, Any]) -> str:
    """What a node is, in a few words."""
    if node["kind"] != "latent":
        return {"error": "what the dictionary misses", "logit": "the metric"}.get(node["kind"], str(node["kind"]))
    return tokens.readable(node["text"], 90) if node["text"] else "not explained"
