"""The strongest paths from the tokens to the metric, each with its share of the total effect; a click pins one.

1. A click saves a view whose pins are the path's nodes, and writes it and the path's rank to the address (`view`, `path`):
   the graph shows what is pinned, Back undoes it. Pins that were there before stay, those of another path go.
2. Where the total effect goes: paths from the tokens, paths that begin later, and what no kept node gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import keep
from dashboard.widgets import bits, tokens
from dashboard.widgets.table import Column, Options, cell, effect, row, table
from data.queries import of_evidence

PLACE = "below"
ORDER = 2
Row = Mapping[str, Any]
TOP = 10


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    circuit = shown.circuit
    found = source.ask(of_evidence.paths, circuit["circuit"])
    bits.section(
        "Strongest paths", "from a token to the metric, estimated as the edges are; a click pins one in the graph"
    )
    if not found:
        why = "No path from the tokens to the metric runs through the edges that are stored."
        bits.gap(why, steps.command(source.workspace(), f"circuit {circuit['task']} --edge-nodes 200"))
        return
    _figures(circuit, found)
    _table(shown, found)


def _figures(circuit: Row, found: Sequence[Row]) -> None:
    top = [p for p in found if p["rank"] <= TOP]
    size = bits.percent(sum(abs(p["share"] or 0.0) for p in top))
    carried = f"of the total effect; {size} counting size alone, for signs cancel"
    facts = [(f"The top {len(top)} carry", bits.percent(sum(p["share"] or 0.0 for p in top)), carried)]
    account = (circuit["summary"] or {}).get("paths") or {}
    for name, label, note in (
        ("from_tokens", "All paths from tokens", "of the total effect"),
        ("later", "Begin later", "fed by what was left out"),
        ("rest", "No kept node gives", "directly to the metric"),
    ):
        if one := account.get(name):
            between = f"{bits.percent(one['lower'], 0)} to {bits.percent(one['upper'], 0)}"
            facts.append((label, bits.percent(one["value"]), f"{note}, {between}"))
    bits.figures(facts)


def _table(shown: ShownCircuit, found: Sequence[Row]) -> None:
    columns = [
        Column("#", "num"),
        Column("Token", "mono line", "what stands where the path begins, in the example prompt"),
        Column("Path", "mono clip", "nodes from the first to the last before the metric"),
        Column("Weight", "num", "part of the metric that travels along it, estimated"),
        Column("Share", "num", "of the total effect, with its interval"),
        Column("Together", "num", "the shares of this path and those before it"),
        Column("In errors", "num", "how many of its nodes are error nodes"),
    ]
    top = max(abs(p["weight"]) for p in found)
    rows, together = [], 0.0
    for p in found:
        together += p["share"] or 0.0
        rows.append(row(_cells(p, top, together), str(p["rank"])))
    selected = st.query_params.get("path")
    options = Options("Strongest paths", height=300, csv=f"paths-{shown.circuit['circuit']}.csv", selected=selected)
    table("paths", columns, rows=rows, options=options, pick=lambda rank: _pin(shown, found, rank))


def _cells(p: Row, top: float, together: float) -> list[Any]:
    written = " → ".join([*map(short, p["nodes"]), "metric"])
    errors = sum("/error@" in node for node in p["nodes"])
    share = bits.percent(p["share"])
    between = "" if p["share"] is None else f" [{bits.percent(p['share_lower'])}, {bits.percent(p['share_upper'])}]"
    return [
        p["rank"],
        tokens.named(p["token"] or "—"),
        cell(written, title=" -> ".join([*p["nodes"], "metric"]), raw=" -> ".join([*p["nodes"], "metric"])),
        effect(p["weight"], top),
        cell(share + between, sort=p["share"] or 0.0, raw=p["share"]),
        cell(bits.percent(together), sort=together, raw=together, tone="quiet"),
        f"{errors} of {len(p['nodes'])}",
    ]


def short(node: str) -> str:
    """`resid_post:10/latent:7@4` as `10.7@4`, an error as `10.err@4`; another kind of site or node is written out."""
    place, _, rest = node.rpartition("/")
    kind, _, layer = place.partition(":")
    if kind != "resid_post":
        return node
    return f"{layer}.{rest.replace('latent:', '').replace('error', 'err')}"


def _pin(shown: ShownCircuit, found: Sequence[Row], rank: str) -> None:
    """Pins the nodes of a path, and writes to the address which it is."""
    before = {node for p in found if str(p["rank"]) == st.query_params.get("path") for node in p["nodes"]}
    chosen = next((list(p["nodes"]) for p in found if str(p["rank"]) == rank), [])
    kept = [node for node in shown.marks.pinned if node not in before and node not in chosen]
    keep(shown.circuit["circuit"], replace(shown.marks, pinned=[*kept, *chosen]))
    st.query_params["path"] = rank
