"""Examples as rows that open: their activation and document, then their tokens on the feature's own colour scale.

1. `Row` and `Block` are what is shown; `examples` mounts them. Tokens are made readable here, and set as text there.
2. A row that is opened (click, Enter) calls `pick` with its id, which writes the address; "" closes it.
3. The place that an example is about is underlined: solid where the feature fires, dotted where it is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.evidence import Example
from dashboard.widgets import bits, tokens
from dashboard.widgets.component import mount, triggered


@dataclass(frozen=True)
class Row:
    """An example and what stands before it: a value or a verdict, whose `tone` is right, wrong or nothing."""

    example: Example
    lead: str = ""
    tone: str = ""
    note: str = ""


@dataclass(frozen=True)
class Block:
    """Rows under a title; `empty` is said where there are none."""

    name: str
    said: tuple[str, ...]
    rows: tuple[Row, ...]
    empty: str = ""


@dataclass(frozen=True)
class Manner:
    """How examples are shown: `top` is the feature's greatest activation, `open` the id of the row that is opened."""

    label: str
    top: float
    breaks: bool = False
    open: str = ""


def examples(key: str, blocks: Sequence[Block], manner: Manner, pick: Callable[[str], None]) -> None:
    """Shows `blocks`."""
    data = {
        "label": manner.label, "top": manner.top, "alpha": tokens.ALPHA, "breaks": manner.breaks, "open": manner.open,
        "groups": [_block(block, manner) for block in blocks],
    }  # fmt: skip
    mount("examples", data, key, on_open_change=lambda: pick(triggered(key, "open")))


def _block(block: Block, manner: Manner) -> dict[str, Any]:
    rows = [_row(row, manner) for row in block.rows]
    return {"name": block.name, "said": list(block.said), "rows": rows, "empty": "" if rows else block.empty}


def _row(row: Row, manner: Manner) -> dict[str, Any]:
    example = row.example
    made = _line(example, row.lead, manner) | {
        "texts": _texts(example, manner),
        "copies": [_copy(copy, example, manner) for copy in example.copies],
    }
    note = row.note or example.note
    return made | ({"tone": row.tone} if row.tone else {}) | ({"note": note} if note else {})


def _copy(copy: Example, first: Example, manner: Manner) -> dict[str, Any]:
    own = {} if copy.tokens == first.tokens else {"texts": _texts(copy, manner)}
    return _line(copy, "", manner) | own


def _texts(example: Example, manner: Manner) -> list[str]:
    return [(tokens.broken if manner.breaks else tokens.readable)(token) for token in example.tokens]


def _line(example: Example, lead: str, manner: Manner) -> dict[str, Any]:
    lead = lead or bits.number(example.value, 2)
    opened = str(example.place) == manner.open
    where = f"document {example.place.document}, token {example.place.position}"
    values = [[i, round(value, 4)] for i, value in enumerate(example.values) if value > 0]
    return {
        "id": str(example.place), "lead": lead, "under": f"#{example.place.document}", "values": values,
        "peak": example.at if example.marked else -1, "said": f"{lead}, {where}", "open": opened,
    }  # fmt: skip
