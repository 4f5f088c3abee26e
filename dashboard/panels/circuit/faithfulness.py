"""Faithfulness and completeness by size, of nodes and of edges, at each reference; the pruning slider stands on the curve.

1. The address says which reference is shown (`reference`, or `all` side by side) and how single pairs lie (`spread`).
2. On the second axis is the share of |effect| that error nodes hold among the nodes kept: what of it is unexplained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import choose
from dashboard.widgets import bits, plot
from dashboard.widgets.pruning import error_share, error_words, means, of_pairs, side_by_side
from dashboard.widgets.switch import switch
from data import queries

PLACE = "graph"
ORDER = 5
Row = Mapping[str, Any]


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    rows = source.ask(queries.evaluations, shown.circuit["circuit"])
    bits.section("Faithfulness and completeness", _note(rows))
    if not rows:
        bits.gap("This circuit has not been evaluated.", _again(shown.circuit))
        return
    chosen, spread = _switches(shown.circuit, rows)
    nodes, edges = st.columns([1.75, 1], gap="small")
    with nodes:
        _nodes(shown, rows, chosen, spread)
    with edges:
        _edges(shown, rows, chosen)


def _again(circuit: Row, *options: str) -> str:
    """The command that traces the circuit's task anew."""
    return steps.command(source.workspace(), " ".join(["circuit", circuit["task"], *options]))


def _note(rows: Sequence[Row]) -> str:
    pairs = {row["examples"] for row in rows if row["examples"]}
    many = f"{min(pairs)} held-out pairs" if pairs else "held-out pairs"
    return f"{many}, 95 % intervals; drag to choose how many nodes are shown"


def _switches(circuit: Row, rows: Sequence[Row]) -> tuple[str, str]:
    """The reference shown, or `all`; and whether curves are means or how single pairs lie."""
    known = sorted({row["ablation"] for row in rows}, key=lambda name: (name != circuit["ablation"], name))
    options = [*known, "all"] if len(known) > 1 else known
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = switch("reference", options, label="What is left out takes its value from", said=_reference)
        spread = switch("spread", ["mean", "pairs"], label="Of the pairs", said=_spread)
    return chosen, spread


def _reference(name: str) -> str:
    return "all references" if name == "all" else name


def _spread(name: str) -> str:
    return {"mean": "the mean", "pairs": "each"}[name]


def _nodes(shown: ShownCircuit, rows: Sequence[Row], chosen: str, spread: str) -> None:
    mine = [row for row in rows if row["mask"] == "nodes"]
    found = mine if chosen == "all" else [row for row in mine if row["ablation"] == chosen]
    if not found:
        bits.gap(f"Nodes were not evaluated with {chosen} values.", _again(shown.circuit, "--ablations", chosen))
        return
    most = len(shown.nodes) - 1
    made = side_by_side(found, "nodes") if chosen == "all" else of_pairs(found) if spread == "pairs" else means(found)
    errors = error_share(shown.nodes, made.x["min"])
    held = error_words(shown.nodes, shown.size)
    marker = {"value": shown.size, "unit": "nodes", "label": "How many of the most important nodes to show"}
    figure = replace(
        made,
        series=[*made.series, *([errors] if errors else [])],
        right=plot.axis(0.0, 1.0, label="of |effect| in error nodes", percent=True) if errors else None,
        x={**made.x, "max": max(most, made.x["max"])},
        marker=marker,
        legend=True,
        height=300,
        alt=f"{made.alt}. {held}",
    )
    plot.draw("curve", figure, choose=choose)
    st.html(f'<div class="lw-legend"><span>{bits.escape(held)}</span></div>')


def _edges(shown: ShownCircuit, rows: Sequence[Row], chosen: str) -> None:
    mine = [row for row in rows if row["mask"] == "edges"]
    found = mine if chosen == "all" else [row for row in mine if row["ablation"] == chosen]
    if not found:
        why = "Edges were not evaluated" + ("." if chosen == "all" else f" with {chosen} values.")
        bits.gap(f"{why} Nodes alone say less: all edges between them are then kept.", _again(shown.circuit))
        return
    made = side_by_side(found, "edges") if chosen == "all" else means(found, "edges")
    plot.draw("curve_edges", replace(made, legend=True, height=300))
