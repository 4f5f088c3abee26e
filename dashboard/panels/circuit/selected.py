"""The selected node with its evidence and its edges; until one is chosen, what the circuit is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import pick
from dashboard.panels.circuit._supernode import flow, supernode
from dashboard.panels.circuit.tables import said
from dashboard.widgets import bits, graph, node
from dashboard.widgets.table import Column, Options, cell, effect, row, table

PLACE = "side"
ORDER = 1
NAMED = (Column("Node", "mono line"), Column("Explanation", "clip"), Column("Effect", "num"))


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    if shown.chosen:
        node.detail(shown.chosen, shown.graph, circuit=shown.circuit, pick=pick)
    elif shown.group:
        _group(shown, shown.group)
    else:
        _summary(shown.circuit, shown.nodes)


def _group(shown: ShownCircuit, group: Mapping[str, Any]) -> None:
    """What a group is: its members, the sums of their effects, and what goes in and out of it."""
    found = supernode(shown.graph, group)
    bits.section(found.name, f"{found.identity} · a group of {len(found.members)} nodes")
    exact = bits.signed(found.verified) if found.all_verified else "—"
    note = "sum over its nodes" if found.all_verified else f"{found.verified_count} of {len(found.members)} verified"
    bits.figures([("Sum of effects", bits.signed(found.effect), "estimated"), ("Exact", exact, note)])
    if found.sites > 1:
        text = (
            "Its nodes lie at several sites: what a later one passes on of an earlier one is in both of their effects."
        )
        st.html(f'<div class="lw-legend">{text}</div>')
    members = [shown.nodes[number] for number in found.members]
    top = max((abs(n["effect"]) for n in members), default=0.0)
    table(
        "members",
        NAMED,
        rows=[_row(n, top) for n in members],
        options=Options("Nodes of the group", height=200),
        pick=pick,
    )
    for end, title in (("source", "Comes from"), ("target", "Goes to")):
        pairs = flow(shown.graph, shown.marks.groups, found, end)
        node.flows(title, end, pairs, shown.graph, of=group["nodes"], groups=shown.marks.groups, pick=pick)


def _summary(circuit: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
    """What the circuit is, until a node is chosen."""
    bits.section("Summary", "click a node for its evidence and its edges")
    mine = [n for n in nodes if n["kind"] != "logit"]
    verified = sum(1 for n in mine if n["verified"] is not None)
    by_kind = {kind: sum(abs(n["effect"]) for n in nodes if n["kind"] == kind) for kind in ("latent", "error")}
    whole = sum(by_kind.values())
    check, fit = circuit["selfcheck"] or {}, circuit["calibration"] or {}
    worst = max((check.get("gradients") or {}).values(), default=None)
    bits.figures(
        [
            (
                "Total effect",
                bits.number((circuit["summary"] or {}).get("total_effect"), 2),
                "clean minus counterfactual",
            ),
            ("Nodes", bits.number(len(mine)), f"{verified} verified exactly"),
            ("In SAE errors", bits.percent(by_kind["error"] / whole if whole else None), "of all |effect| stored"),
            ("Estimate to exact", bits.number(fit.get("pearson"), 3), f"Pearson {graph.bracket(fit, 'pearson')}"),
            ("Wrong sign", bits.percent(fit.get("sign_errors")), "of verified nodes"),
            (
                "Self-check",
                "passed" if check.get("passed") else "failed" if check else "—",
                f"gradients within {_tiny(worst)}",
            ),
        ]
    )
    _strongest(nodes)


def _tiny(value: float | None) -> str:
    return "—" if value is None else f"{value:.0e}"


def _strongest(nodes: Sequence[Mapping[str, Any]]) -> None:
    bits.section("Strongest nodes")
    best = [n for n in nodes[:11] if n["kind"] != "logit"][:10]
    top = max((abs(n["effect"]) for n in best), default=0.0)
    options = Options("Strongest nodes", sort=False, height=330)
    table("strongest", NAMED, rows=[_row(n, top) for n in best], options=options, pick=pick)


def _row(n: Mapping[str, Any], top: float) -> dict[str, Any]:
    return row([cell(n["node"], title=n["node"]), cell(said(n), tone="quiet"), effect(n["effect"], top)], n["node"])
