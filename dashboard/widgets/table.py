"""Tables: dense, sortable, linked, with a CSV of what is shown.

1. `Column` and the cells (`cell`, `link`, `effect`) are plain data.
2. `table` mounts them; a click on a link moves to that page, a picked row is written to the address by `pick`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dashboard.widgets.bits import go, signed
from dashboard.widgets.component import mount, triggered

Cell = Mapping[str, Any] | str | int | float | None


@dataclass(frozen=True)
class Column:
    """A column: its label, what its cells are (`num`, `mono`, `line`: kept on one line), and a longer explanation."""

    label: str
    kind: str = ""
    title: str = ""


@dataclass(frozen=True)
class Options:
    """How a table behaves."""

    label: str
    """What it is, for screen readers."""
    height: int | None = None
    """Pixels after which it scrolls."""
    sort: bool = True
    """Whether a click on a heading sorts the rows shown."""
    csv: str = ""
    """File name of the CSV; none is offered when empty."""
    note: str = ""
    selected: str | None = None
    """The id of the row marked."""


def cell(text: object, **more: Any) -> dict[str, Any]:
    """A cell: `tone` (positive, negative, quiet, grey), `title`, `sort` (number), `raw` (for CSV), `bar` (-1 to 1)."""
    return {"text": text, **more}


def link(text: object, page: str, **query: str) -> dict[str, Any]:
    """A cell that leads to another page."""
    return {"text": text, "page": page, "query": query}


def effect(value: float | None, top: float = 0.0, digits: int = 3) -> dict[str, Any]:
    """A signed number: its sign as text, colour and a bar (dashed below zero) of its share of `top`."""
    if value is None:
        return cell("—", sort=-1e300, raw="")
    bar = {"bar": value / top} if top else {}
    return cell(signed(value, digits), tone="positive" if value >= 0 else "negative", sort=value, raw=value, **bar)


def row(cells: Sequence[Cell], identity: str | None = None) -> dict[str, Any]:
    """A row, with the id that a pick sends."""
    return {"cells": list(cells)} | ({"id": identity} if identity is not None else {})


def table(
    key: str,
    columns: Sequence[Column],
    *,
    rows: Sequence[Mapping[str, Any]],
    options: Options,
    pick: Callable[[str], None] | None = None,
) -> None:
    """Shows `rows`; `pick` is called with the id of a row that is clicked."""

    def picked() -> None:
        if pick is not None:
            pick(triggered(key, "pick"))

    shown = {k: v for k, v in asdict(options).items() if v not in (None, "")}
    data = shown | {"columns": [asdict(c) for c in columns], "rows": list(rows), "pick": pick is not None}
    result = mount("table", data, key, on_pick_change=picked, on_go_change=lambda: None)
    if result.go:
        page, query = result.go
        go(page, query)
