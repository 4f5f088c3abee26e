"""How sure the circuit is of its members, and what averaging over examples hides.

1. A node's inclusion is the share of resampled circuits that hold it, chosen by the rule that made this one.
2. Where the signs of an effect differ between examples, its mean is small and its mean absolute value is not: the circuit's
   ranking passes such nodes over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import pick
from dashboard.widgets import bits, plot
from dashboard.widgets.plot import Figure
from dashboard.widgets.table import Column, Options, effect, row, table

PLACE = "below"
ORDER = 7
Row = Mapping[str, Any]
HIDDEN = 2.0
"""A mean absolute effect more than this many times the mean: signs cancel (as `circuits.statistics.cancelled` counts)."""
MOST = 2000
"""Nodes drawn, the most important."""


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    summary = shown.circuit["summary"] or {}
    ranked = [n for n in shown.nodes if n["kind"] != "logit"]
    bits.section("Statistics", "over the pairs that the circuit was found with, resampled")
    if not any(n["mean_absolute"] is not None for n in ranked):
        why = (
            "How effects differ between pairs is not stored: the circuit was imported, or traced by an older lacewing."
        )
        bits.gap(why, steps.command(source.workspace(), f"circuit {shown.circuit['task']}"))
        return
    _figures(summary, ranked)
    left, right = st.columns(2, gap="medium")
    with left:
        _inclusion(shown, ranked)
    with right:
        _cancelling(shown, ranked)


def _figures(summary: Row, ranked: Sequence[Row]) -> None:
    stability = summary.get("stability") or {}
    facts = []
    for name in ("nodes", "edges"):
        if one := stability.get(name):
            between = f"{bits.number(one['lower'], 2)} to {bits.number(one['upper'], 2)}"
            between += f", by chance {bits.number(one['chance'], 2)}"
            facts.append(
                (f"Overlap of {name}", bits.number(one["jaccard"], 2), f"of resampled circuits (Jaccard), {between}")
            )
    sure = [n["inclusion"] for n in ranked if n["inclusion"] is not None]
    if sure:
        share = sum(i >= 0.9 for i in sure) / len(sure)
        facts.append(("Nearly always chosen", bits.percent(share, 0), "of nodes are in 90 % of resampled circuits"))
    hidden = [n for n in ranked if cancels(n)]
    facts.append(
        (
            "Signs cancel",
            bits.number(len(hidden)),
            f"of {len(ranked):,} nodes: mean |effect| over {HIDDEN:g} times the mean",
        )
    )
    if summary.get("cancelled_share") is not None:
        facts.append(
            ("Hidden by means", bits.percent(summary["cancelled_share"]), "of all mean |effect| of these nodes")
        )
    bits.figures(facts)


def cancels(node: Row) -> bool:
    """Whether the signs of a node's effect differ between examples so much that its mean hides most of it."""
    return node["mean_absolute"] is not None and node["mean_absolute"] > HIDDEN * abs(node["effect"])


def _inclusion(shown: ShownCircuit, ranked: Sequence[Row]) -> None:
    known = [n for n in ranked if n["inclusion"] is not None][:MOST]
    if len(known) < 2:
        why = "This ranking cannot be resampled, so no node has an inclusion: its method does not rank by mean effects."
        bits.gap(
            why, steps.command(source.workspace(), f"circuit {shown.circuit['task']} --method integrated_gradients")
        )
        return
    plot.draw("inclusion", inclusion_figure(known, shown.selected), pick=pick)


def inclusion_figure(known: Sequence[Row], selected: str | None) -> Figure:
    """Inclusion by rank."""
    points = [
        plot.point(
            n["rank"],
            n["inclusion"],
            f"{n['node']}, rank {n['rank']}\nin {bits.percent(n['inclusion'], 0)} of resampled circuits",
            id=n["node"],
            selected=n["node"] == selected or None,
            style=4 if n["kind"] == "error" else 0,
            corners=4 if n["kind"] == "error" else None,
            radius=2.6,
        )
        for n in known
    ]
    first = next((n["rank"] for n in known if n["inclusion"] < 0.5), None)
    lines = [{"x": first, "label": f"below 50 % from rank {first:,}"}] if first else []
    return Figure(
        f"Share of resampled circuits that hold each node, by rank, from {bits.percent(known[0]['inclusion'], 0)} "
        f"at rank {known[0]['rank']} to {bits.percent(known[-1]['inclusion'], 0)} at rank {known[-1]['rank']}",
        plot.log_axis(1, max(n["rank"] for n in known), label="rank (log scale)"),
        plot.axis(0.0, 1.0, label="in resampled circuits", percent=True),
        points=points,
        lines=lines,
        series=[
            plot.series("latent", [], 0, loose=True),
            plot.series("error node", [], 4, loose=True, corners=4),
        ],
        legend=True,
        height=250,
    )


def _cancelling(shown: ShownCircuit, ranked: Sequence[Row]) -> None:
    known = [n for n in ranked if n["mean_absolute"] is not None][:MOST]
    plot.draw("cancelling", absolute_figure(known, shown.selected), pick=pick)
    hidden = sorted((n for n in known if cancels(n)), key=lambda n: -n["mean_absolute"])
    if not hidden:
        return
    st.html(
        f'<div class="lw-legend"><span>⚠ {len(hidden)} nodes push the metric up in some pairs and down in others; their '
        f"mean says little. They are triangles above the line.</span></div>"
    )
    columns = [
        Column("Node", "mono line"),
        Column("Mean", "num"),
        Column("Mean |effect|", "num"),
        Column("With the mean's sign", "num", "share of the pairs in which it is not 0"),
    ]
    rows = [
        row(
            [n["node"], effect(n["effect"]), bits.number(n["mean_absolute"]), bits.percent(n["sign_agreement"], 0)],
            n["node"],
        )
        for n in hidden[:40]
    ]
    table("hidden", columns, rows=rows, options=Options("Nodes whose signs cancel", height=150), pick=pick)


def absolute_figure(known: Sequence[Row], selected: str | None) -> Figure:
    """Mean absolute against absolute mean effect: on the diagonal all examples have one sign."""
    points = [
        plot.point(
            abs(n["effect"]),
            n["mean_absolute"],
            f"{n['node']}\nmean {bits.signed(n['effect'])}, mean |effect| {bits.number(n['mean_absolute'])}",
            id=n["node"],
            selected=n["node"] == selected or None,
            style=1 if cancels(n) else 0,
            corners=3 if cancels(n) else None,
            radius=4.0 if cancels(n) else 2.6,
        )
        for n in known
        if n["effect"] and n["mean_absolute"]
    ]
    many = sum(cancels(n) for n in known)
    ends = [p[k] for p in points for k in ("x", "y")] or [0.1, 1.0]
    return Figure(
        f"Mean absolute effect against the size of the mean effect of {len(known)} nodes; {many} lie far above the "
        f"diagonal, where signs cancel",
        plot.log_axis(min(ends), max(ends), label="|mean effect| (log scale)"),
        plot.log_axis(min(ends), max(ends), label="mean |effect| (log scale)"),
        points=points,
        diagonal=True,
        series=[
            plot.series("one sign", [], 0, loose=True),
            plot.series("signs cancel", [], 1, loose=True, corners=3),
        ],
        legend=True,
        height=250,
    )
