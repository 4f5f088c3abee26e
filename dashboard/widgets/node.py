"""The pane beside the graph: one node with its evidence and the edges into and out of it.

A click on an edge walks the graph: the node at its other end becomes the selected one, and the address says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import evidence, source
from dashboard.widgets import bits, graph, tokens
from dashboard.widgets.table import Column, Options, cell, effect, row, table
from data import queries
from data.words import Feature

Row = Mapping[str, Any]


def detail(
    chosen: Row, nodes: Sequence[Row], edges: Sequence[Row], *, circuit: Row, pick: Callable[[str], None]
) -> None:
    """Draws the pane for `chosen`."""
    bits.section(chosen["node"], f"rank {chosen['rank']} · {chosen['role']}")
    total = (circuit["summary"] or {}).get("total_effect")
    share = bits.percent(chosen["effect"] / total) if total else "—"
    exact = graph.bracket(chosen, "verified") or "no interval"
    bits.figures(
        [
            ("Estimated effect", bits.signed(chosen["effect"]), graph.bracket(chosen)),
            (
                "Exact effect",
                bits.signed(chosen["verified"]),
                exact if chosen["verified"] is not None else "not verified",
            ),
            ("Of the total", share, "estimated"),
        ]
    )
    _meaning(chosen)
    known = {n["node"]: n for n in nodes}
    into = [e for e in edges if e["target"] == chosen["node"]]
    out = [e for e in edges if e["source"] == chosen["node"]]
    _edges("Comes from", into, "source", known, pick)
    _edges("Goes to", out, "target", known, pick)


def _meaning(chosen: Row) -> None:
    if chosen["kind"] == "error":
        _plain("The part of the activation that the dictionary does not reconstruct.")
        return
    if chosen["kind"] != "latent":
        _plain("The metric itself: the logits at the last position.")
        return
    feature = Feature(chosen["dictionary"], chosen["latent"])
    if chosen["text"]:
        both = f"score {bits.number(chosen['score'], 2)}, swapped {bits.number(chosen['control'], 2)}"
        score = "not scored" if chosen["score"] is None else both
        said = f"<p>{bits.escape(tokens.readable(chosen['text'], 400))}</p><small>{bits.escape(score)}</small>"
        st.html(f'<div class="lw-explanation">{said}</div>')
    else:
        _plain("Not explained yet.")
    bits.link(
        "feature", f"Feature {feature.latent} of {chosen['site']}", {"feature": str(feature)}, icon=":material/target:"
    )
    _examples(feature)


def _plain(text: str) -> None:
    st.html(f'<div class="lw-explanation lw-failed"><p>{bits.escape(text)}</p></div>')


def _examples(feature: Feature) -> None:
    try:
        record = source.ask(queries.feature, feature)
        found = source.ask(evidence.groups, feature, record["statistics"].get("harvest"), length=16)
    except evidence.UNREADABLE as error:
        bits.gap(f"No examples: {error}")
        return
    if not found:
        bits.gap("The feature never fired in the harvest.")
        return
    lines = (tokens.window(w.tokens, w.values, record["max_activation"]) for w in found[0].windows[:4])
    st.html("".join(f'<div class="lw-text lw-line">{line}</div>' for line in lines))


def _edges(title: str, edges: Sequence[Row], end: str, known: Mapping[str, Row], pick: Callable[[str], None]) -> None:
    bits.section(title, f"{len(edges)} edge{'' if len(edges) == 1 else 's'}")
    if not edges:
        return
    top = abs(edges[0]["effect"])
    columns = [Column("Node", "mono line"), Column("Explanation", "clip"), Column("Effect", "num")]
    rows = [
        row(
            [cell(e[end], title=e[end]), cell(_text(known.get(e[end])), tone="quiet"), effect(e["effect"], top)], e[end]
        )
        for e in edges[:60]
    ]
    table(f"edges_{end}", columns, rows=rows, options=Options(title, sort=False, height=170), pick=pick)


def _text(node: Row | None) -> str:
    return tokens.readable(node["text"], 70) if node and node.get("text") else ""
