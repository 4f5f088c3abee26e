"""The selected node with its evidence and its edges; until one is chosen, what the circuit is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import pick
from dashboard.widgets import bits, graph, node, tokens
from dashboard.widgets.table import Column, Options, cell, effect, row, table

PLACE = "side"
ORDER = 1


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    chosen = next((n for n in shown.nodes if n["node"] == shown.selected), None)
    if chosen:
        node.detail(chosen, shown.nodes, shown.edges, circuit=shown.circuit, pick=pick)
    else:
        _summary(shown.circuit, shown.nodes)


def _summary(circuit: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
    """What the circuit is, until a node is chosen."""
    bits.section("Summary", "click a node for its evidence and its edges")
    verified = sum(1 for n in nodes if n["verified"] is not None)
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
            ("Nodes", bits.number(len(nodes)), f"{verified} verified exactly"),
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
    best = [n for n in nodes if n["kind"] != "logit"][:10]
    top = max((abs(n["effect"]) for n in best), default=0.0)
    rows = [
        row([cell(n["node"], title=n["node"]), cell(_said(n), tone="quiet"), effect(n["effect"], top)], n["node"])
        for n in best
    ]
    columns = [Column("Node", "mono line"), Column("Explanation", "clip"), Column("Effect", "num")]
    table("strongest", columns, rows=rows, options=Options("Strongest nodes", sort=False, height=330), pick=pick)


def _said(n: Mapping[str, Any]) -> str:
    if n["kind"] != "latent":
        return "what the dictionary misses" if n["kind"] == "error" else "the metric"
    return tokens.readable(n["text"], 90) if n["text"] else "not explained"
