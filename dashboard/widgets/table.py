"""Tables: dense, sortable, linked, walked by keyboard, with a CSV of what is shown.

1. `Column` and the cells (`cell`, `link`, `effect`) are plain data.
2. `table` mounts them; a click on a link moves to that page, a picked row is given to `pick`, which writes the address.
3. A table with `pick` is one stop of the Tab key: Up, Down, j, k, Home and End move among its rows, Enter picks one. With
   `follow` the row moved to is picked at once, so that a detail beside the table follows, and Enter goes where the row
   `opens`. Where the address keeps the pick under `param`, walking changes it in place: Back leaves the table at once.
4. A table that shows one page of many asks `turn` for the next beyond its ends and by PageUp, PageDown, [ and ]; one that
   the store has sorted asks `reorder` when a heading is clicked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    order: str = ""
    """Name of the order that the store sorts by when the heading is clicked; see `Paging`."""


@dataclass(frozen=True)
class Options:
    """How a table behaves."""

    label: str
    """What it is, for screen readers."""
    height: int | str | None = None
    """Pixels (or a CSS length) after which it scrolls."""
    sort: bool = True
    """Whether a click on a heading sorts the rows shown."""
    csv: str = ""
    """File name of the CSV; none is offered when empty."""
    note: str = ""
    selected: str | None = None
    """The id of the row marked."""
    follow: bool = False
    """Whether moving to a row by key picks it."""
    param: str = ""
    """Name in the address that the pick is kept under."""


@dataclass(frozen=True)
class Paging:
    """Which page of how many is shown, in which order: the name of a column's `order`, after `-` when it descends."""

    page: int = 1
    pages: int = 1
    order: str = ""
    turn: Callable[[int, bool], None] | None = field(default=None, compare=False)
    """Called with the page to go to, and whether to land on its last row."""
    reorder: Callable[[str], None] | None = field(default=None, compare=False)
    """Called with the order asked for."""


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


def row(
    cells: Sequence[Cell], identity: str | None = None, opens: tuple[str, Mapping[str, str]] | None = None
) -> dict[str, Any]:
    """A row, with the id that a pick sends, and the page and query that Enter goes to."""
    made: dict[str, Any] = {"cells": list(cells)}
    if identity is not None:
        made["id"] = identity
    return made | ({"opens": [opens[0], dict(opens[1])]} if opens else {})


def table(
    key: str,
    columns: Sequence[Column],
    *,
    rows: Sequence[Mapping[str, Any]],
    options: Options,
    pick: Callable[[str], None] | None = None,
    paging: Paging | None = None,
) -> None:
    """Shows `rows`; `pick` is called with the id of a row that is clicked or walked to."""
    paging = paging or Paging()
    result = mount("table", _data(columns, rows, options, pick is not None, paging), key, **_heard(key, pick, paging))
    if result.go:
        page, query = result.go
        go(page, query)


def _data(
    columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], options: Options, pick: bool, paging: Paging
) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(options).items() if value not in (None, "")}
    place = {"page": paging.page, "pages": paging.pages if paging.turn else 1}
    ordered = {"order": paging.order} if paging.reorder else {}
    heads = [{name: value for name, value in asdict(column).items() if value} for column in columns]
    return shown | place | ordered | {"columns": heads, "rows": list(rows), "pick": pick}


def _heard(key: str, pick: Callable[[str], None] | None, paging: Paging) -> dict[str, Callable[[], None]]:
    """What is done about what the table sends."""

    def picked() -> None:
        if pick is not None:
            pick(triggered(key, "pick"))

    def turned() -> None:
        page, last = triggered(key, "turn")
        if paging.turn is not None and 1 <= page <= paging.pages:
            paging.turn(page, bool(last))

    def reordered() -> None:
        if paging.reorder is not None:
            paging.reorder(triggered(key, "order"))

    return {
        "on_pick_change": picked, "on_turn_change": turned, "on_order_change": reordered, "on_go_change": lambda: None,
    }  # fmt: skip
