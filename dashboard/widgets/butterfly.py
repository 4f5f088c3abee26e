"""Two circuits on one table of sites by places: how many nodes each has there, and how much effect, on one scale.

The bar to the left is the left circuit's summed |effect|, the one to the right the right's: whole where the effects are
positive, hatched where they are negative. Words say what a test found there. A cell that is clicked is sent to `pick`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dashboard.widgets.bits import number, signed
from dashboard.widgets.component import mount, triggered

Row = Mapping[str, Any]


def butterfly(
    key: str,
    rows: Sequence[Row],
    columns: Sequence[tuple[str, str, str]],
    *,
    words: Mapping[str, str],
    selected: str,
    pick: Callable[[str], None],
) -> None:
    """`rows` are those of `of_comparison.by_place`, `columns` places with a label and a note, `words` what to say of a cell
    by its id, `SITE@PLACE`."""
    found = {cell_id(row): row for row in rows}
    sites = list(dict.fromkeys(row["site"] for row in rows))
    data = {
        "label": "Both circuits by site and place",
        "corner": "site",
        "columns": [{"label": label, "note": note} for _, label, note in columns],
        "rows": [
            {
                "label": site,
                "cells": [
                    _cell(found[name], words.get(name, "")) if (name := f"{site}@{place}") in found else None
                    for place, _, _ in columns
                ],
            }
            for site in sites
        ],
        "top": max((_size(row, side) for row in rows for side in ("left", "right")), default=1.0) or 1.0,
        "selected": selected,
    }
    mount("butterfly", data, key, on_pick_change=lambda: pick(triggered(key, "pick") or ""))


def cell_id(row: Row) -> str:
    """The id of a cell."""
    return f"{row['site']}@{row['place']}"


def _size(row: Row, side: str) -> float:
    return row[f"{side}_positive"] - row[f"{side}_negative"]


def _cell(row: Row, words: str) -> dict[str, Any]:
    sides = {
        side: {name: row[f"{side}_{name}"] for name in ("nodes", "positive", "negative")} for side in ("left", "right")
    }
    said = "; ".join(
        f"{side} {of['nodes']} nodes, {signed(of['positive'], 2)} and {number(of['negative'], 2)}"
        for side, of in sides.items()
    )
    title = f"{row['site']} {row['role'] or row['place']}: {said}" + (f"; {words}" if words else "")
    return {"id": cell_id(row), "title": title, "words": words} | sides


LEGEND = (
    '<div class="lw-legend"><span>bars to the left: the left circuit; to the right: the right one; one scale</span>'
    '<span class="lw-blue">▬ positive effects</span><span class="lw-red">▨ negative</span>'
    "<span>numbers: nodes; click a cell to list its nodes</span></div>"
)
