"""Two circuits that nobody has tested against each other: what they plainly share, and their effects side by side.

Nothing here says that a difference is more than chance: lists of nodes differ by chance, and so do effects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source
from dashboard.compare._setting import Setting, membership, name_of, way, write
from dashboard.widgets import bits, job, turning
from dashboard.widgets.table import Column, Options, cell, effect, link, row, table
from dashboard.widgets.tokens import readable
from data.queries import of_comparison
from data.words import Feature

Row = Mapping[str, Any]
WAYS = {
    "position": "the same feature at the same token position",
    "role": "the same feature at the same role",
    "anywhere": "the same feature at any position, effects summed",
}


def head(setting: Setting) -> dict[str, str]:
    """Says that nothing is tested, how to test it, and what the two share; returns the words of each cell."""
    bits.section("Not tested", "which of these differences are more than chance is not known yet")
    note = "It tests each node and edge, at a false-discovery rate of 5 %, and says what it could have found."
    job.offer("compare_diff", "Test the difference", "diff", setting.pair, note=note)
    _ways(setting)
    _figures(source.ask(of_comparison.overlap, *setting.pair, setting.by))
    return _words(setting)


def _ways(setting: Setting) -> None:
    roles = ((c["prompt"] or {}).get("roles") or [] for c in (setting.left, setting.right))
    about = "; ".join(f"{name}: {text}" for name, text in WAYS.items())
    turning.choice("Way to match nodes", "by", list(WAYS), default=way(*roles), width=260, about=about)


def _figures(found: Row) -> None:
    bits.figures(
        [
            ("In both", bits.number(found["shared"]), "nodes"),
            ("Left only", bits.number(found["left_only"]), "nodes"),
            ("Right only", bits.number(found["right_only"]), "nodes"),
            ("Jaccard", bits.number(found["jaccard"], 3), "shared of all nodes"),
            ("Weighted Jaccard", bits.number(found["weighted"], 3), "of |effect|, equal signs"),
            ("Correlation", bits.number(found["pearson"], 3), "of effects of shared nodes"),
            ("Opposite signs", bits.number(found["opposite"]), "of the shared"),
        ]
    )


def _words(setting: Setting) -> dict[str, str]:
    """How many nodes of each cell are in one circuit alone."""
    said = {}
    for place in source.ask(of_comparison.by_place, *setting.pair, setting.by):
        parts = [f"{place[f'{side}_only']} {side} only" for side in ("left", "right") if place[f"{side}_only"]]
        said[f"{place['site']}@{place['place']}"] = ", ".join(parts)
    return said


def nodes(setting: Setting) -> None:
    """The nodes of both, a page at a time."""
    page, chosen = turning.asked(), st.query_params.get("cell", "")
    options = {"cell": chosen, "offset": (page - 1) * turning.SIZE, "limit": turning.SIZE}
    found = source.ask(of_comparison.beside, *setting.pair, setting.by, **options)
    bits.section("Nodes", "those that differ most first; differences are not tested")
    if chosen:
        filtered(chosen)
    if not found:
        bits.gap("No node of either circuit is there.")
        return
    columns = [
        Column("Node", "mono line"),
        Column("In", "line"),
        Column("Left", "num", "effect in the left circuit"),
        Column("Interval", "num"),
        Column("Right", "num", "effect in the right circuit"),
        Column("Interval", "num"),
        Column("Difference", "num", "right minus left, not tested; a node that a circuit does not hold counts 0"),
        Column("Explanation"),
    ]
    total = found[0]["total"]
    options_ = Options(
        "Nodes of both circuits", sort=False, csv="nodes.csv", note=turning.span(total, page, len(found))
    )
    table("compare_nodes", columns, rows=_rows(found, setting), options=options_)
    turning.turn(total, page)


def filtered(chosen: str) -> None:
    """Says that only a cell of the overview is listed, and how to list all."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(f"<span>only at <b>{bits.escape(readable(chosen, 80))}</b></span>", width="content")
        st.button("all places", key="compare_all", on_click=lambda: write("cell")(""))


def _rows(found: Sequence[Row], setting: Setting) -> list[dict[str, Any]]:
    top = max((abs(r[f"{side}_effect"] or 0.0) for r in found for side in ("left", "right")), default=0.0)
    return [
        row(
            [
                named(r, name_of(r)),
                membership(r),
                *_side(r, "left", top, setting.left["circuit"]),
                *_side(r, "right", top, setting.right["circuit"]),
                cell(bits.signed(r["difference"]), tone="quiet", sort=r["difference"], raw=r["difference"]),
                explained(r),
            ]
        )
        for r in found
    ]


def named(r: Row, name: str) -> dict[str, Any]:
    """A node, leading to its feature where it is one."""
    if r["dictionary"] is None or r["latent"] is None:
        return cell(name)
    return link(name, "feature", feature=str(Feature(r["dictionary"], r["latent"])))


def explained(r: Row) -> dict[str, Any]:
    """What is said of a node's feature."""
    if r["text"]:
        return cell(readable(r["text"], 100), title=readable(r["text"], 600))
    return cell("not explained" if r["latent"] is not None else "", tone="quiet")


def _side(r: Row, side: str, top: float, circuit: str) -> list[dict[str, Any]]:
    if r[f"{side}_effect"] is None:
        return [cell("not in it", tone="quiet", sort=0, raw=""), cell("", raw="")]
    shown = effect(r[f"{side}_effect"], top) | {
        "page": "circuit",
        "query": {"circuit": circuit, "node": r[f"{side}_node"]},
    }
    many = r[f"{side}_positions"]
    if many > 1:
        return [shown, cell(f"{many} positions", tone="quiet", title="the sum has no stored interval")]
    ends = f"[{bits.signed(r[f'{side}_lower'])}, {bits.signed(r[f'{side}_upper'])}]"
    return [shown, cell(ends, tone="quiet")]
