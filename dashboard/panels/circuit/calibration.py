"""Exact against estimated effects of what was verified: by patching nodes, or paths for edges.

1. The most important ones and the random sample of the rest are told apart: selection flatters the former.
2. The address says whether nodes or edges are shown (`calibration`), and of which site (`at`).
3. Nodes whose second-order term says that a first-order estimate cannot be trusted are marked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from dashboard import source, steps
from dashboard.panels import ShownCircuit
from dashboard.panels.circuit._address import pick
from dashboard.widgets import bits, plot
from dashboard.widgets.plot import Figure, Mark
from dashboard.widgets.switch import asked, switch
from data.queries import of_evidence

PLACE = "below"
ORDER = 5
WIDTH = 0.5
Row = Mapping[str, Any]


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    what = asked("calibration", ["nodes", "edges"])
    fit = _fit(shown.circuit, what)
    bits.section("Calibration", f"exact against estimated effect of the {what} that were verified")
    rows = _rows(shown, what)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        switch("calibration", ["nodes", "edges"], label="Of")
        sites = sorted({r["site"] for r in rows}, key=_depth)
        site = switch("at", ["all", *sites], label="At") if 1 < len(sites) <= 8 else "all"
    if not rows:
        bits.gap(f"No {what[:-1]} has been verified.", _again(shown.circuit))
        return
    chosen = [r for r in rows if site in ("all", r["site"])]
    _facts(fit if site == "all" else (fit.get("by_site") or {}).get(site) or {}, len(chosen))
    known = {n["node"]: n for n in shown.nodes}
    plot.draw("calibration", figure(chosen, known, selected=shown.selected, what=what), pick=pick)
    _samples(fit)


def _depth(place: str) -> list[int]:
    """The layers of a site, or of the two sites of an edge; the metric comes last."""
    return [int(layer) for layer in re.findall(r":(\d+)", place)] + [10**6]


def _again(circuit: Row) -> str:
    return steps.command(source.workspace(), f"circuit {circuit['task']} --verify 100")


def _fit(circuit: Row, what: str) -> Row:
    whole = circuit["calibration"] or {}
    return whole if what == "nodes" else whole.get("edges") or {}


def _rows(shown: ShownCircuit, what: str) -> Sequence[Row]:
    """What was verified: from the circuit's part, or, where that is missing, from its nodes and edges."""
    found = [
        r
        for r in source.ask(of_evidence.scatter, shown.circuit["circuit"])
        if (" -> " in r["name"]) == (what == "edges")
    ]
    return found or stored(shown.nodes if what == "nodes" else _verified_edges(shown))


def _verified_edges(shown: ShownCircuit) -> list[dict[str, Any]]:
    """Rows of the verified edges alone: of tens of thousands few are."""
    edges = shown.graph.edges
    return edges.take(np.flatnonzero(edges.table["verified"].is_valid().to_numpy(zero_copy_only=False)))


def stored(members: Sequence[Row]) -> list[Row]:
    """Nodes or edges of the circuit as points: the random sample outside of it is not among them."""
    return [
        {
            "name": m["node"] if "node" in m else f"{m['source']} -> {m['target']}",
            "site": m.get("site") or "all",
            "sample": "most important",
            "estimated": m["effect"],
            "exact": m["verified"],
        }
        for m in members
        if m["verified"] is not None and m.get("kind") != "logit"
    ]


def figure(rows: Sequence[Row], known: Mapping[str, Row], *, selected: str | None, what: str) -> Figure:
    """The scatter: round and whole for the most important, square and hollow for the random sample, triangles where the
    second-order term warns; vermillion where the sign is wrong."""
    points = [_point(r, known.get(r["name"]), selected) for r in rows]
    kinds = [("agreeing sign", 0, 0, ""), ("wrong sign", 1, 0, ""), ("random sample", 2, 4, "hollow")]
    kinds += [("second order too large", 0, 3, "")] if any(p.get("corners") == 3 for p in points) else []
    legend = [
        plot.series(name, [], style, loose=True, corners=corners, fill=fill) for name, style, corners, fill in kinds
    ]
    return replace(plot.calibration_figure(points, f"verified {what}"), series=legend, legend=True, height=300)


def _point(r: Row, node: Row | None, selected: str | None) -> Mark:
    random = r["sample"] == "random"
    bent = node is not None and node.get("unreliable")
    words = [r["name"], f"estimated {bits.signed(r['estimated'])}, exact {bits.signed(r['exact'])}"]
    words += (
        [f"second order {bits.number(node['second_order'], 2)} of the first: do not trust the estimate"]
        if bent and node
        else []
    )
    return plot.point(
        r["estimated"],
        r["exact"],
        "\n".join([*words, "of the random sample" if random else "of the most important"]),
        lower=node["verified_lower"] if node else None,
        upper=node["verified_upper"] if node else None,
        id=r["name"] if node else None,
        selected=r["name"] == selected or None,
        style=0 if r["estimated"] * r["exact"] >= 0 else 1,
        corners=4 if random else 3 if bent else 0,
        fill="hollow" if random else None,
        radius=4.4 if random or bent else None,
    )


def _facts(fit: Row, many: int) -> None:
    pearson = bits.interval(fit, "pearson", 3) if fit.get("pearson") is not None else "—"
    value, _, between = pearson.partition(" ")
    chance = f", chance below {bits.number(fit['chance'], 2)}" if fit.get("chance") is not None else ""
    bits.figures(
        [
            ("Pearson", value, f"{between}{chance}" if between else "too few to say"),
            ("Wrong sign", bits.percent(fit.get("sign_errors")), "of effects that do not vanish"),
            ("Exact per estimated", bits.number(fit.get("slope"), 2), "slope through 0"),
            ("Verified", f"{many:,}", "by patching"),
        ]
    )


def _samples(fit: Row) -> None:
    """The correlation of the most important ones beside that of the random sample."""
    words = []
    for name, said in (("most_important", "of the most important"), ("random_sample", "of the random sample")):
        if one := fit.get(name):
            words.append(f"Pearson {bits.interval(one, 'pearson')} {said} ({one['nodes']})")
    if words:
        st.html(f'<div class="lw-legend"><span>{bits.escape("; ".join(words))}.</span></div>')
