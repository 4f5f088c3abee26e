"""The nodes and edges shown, as tables: the graph's accessible twin, and what one takes away as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import pick
from dashboard.widgets import bits, graph, tokens
from dashboard.widgets.table import Column, Options, cell, effect, row, table

PLACE = "below"
ORDER = 1


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    left, right = st.columns([1.45, 1], gap="medium")
    with left:
        bits.section("Nodes", f"the {len(shown.visible)} shown, with 95 % intervals over pairs")
        _nodes(shown.circuit, shown.visible, shown.selected)
    with right:
        names = {n["node"] for n in shown.visible}
        inside = [e for e in shown.edges if e["source"] in names and e["target"] in names]
        bits.section("Edges", f"the strongest {min(len(inside), 400)} of {len(inside):,} between the nodes shown")
        _edges(shown.circuit, inside[:400])


def _nodes(circuit: Mapping[str, Any], shown: Sequence[Mapping[str, Any]], selected: str | None) -> None:
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
                cell(_said(n), title=tokens.readable(n["text"] or "", 400), **({} if n["text"] else {"tone": "quiet"})),
            ],
            n["node"],
        )
        for n in shown
    ]
    options = Options("Nodes", height=380, csv=f"nodes-{circuit['circuit']}.csv", selected=selected)
    table("nodes", columns, rows=rows, options=options, pick=pick)


def _edges(circuit: Mapping[str, Any], edges: Sequence[Mapping[str, Any]]) -> None:
    if not edges:
        bits.gap("No edge is stored between the nodes shown. Show more nodes with the slider on the curve below.")
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


def _said(n: Mapping[str, Any]) -> str:
    if n["kind"] != "latent":
        return "what the dictionary misses" if n["kind"] == "error" else "the metric"
    return tokens.readable(n["text"], 90) if n["text"] else "not explained"
