"""Where each node of a circuit is drawn: x is the token position, y the site, deeper sites higher.

1. A cell is one position at one site. A column is as wide, and a row as high, as the square root of its fullest cell.
2. Within its cell, nodes are packed on a grid by rank, so no two share a place and equal rows give equal pictures.

Coordinates are shares of the drawing (0 to 1, y downwards); the script only scales them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.words import Site


@dataclass(frozen=True)
class Lane:
    """A row or column: what it is, where it begins and ends (0 to 1)."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True)
class Layout:
    """Places [x, y] by node id; `columns` by position, `rows` from the deepest site down."""

    places: dict[str, tuple[float, float]]
    columns: dict[int, Lane]
    rows: list[Lane]


def arrange(nodes: Sequence[Mapping[str, Any]], positions: Sequence[str], aspect: float = 2.0) -> Layout:
    """The layout of `nodes` (rows with node, site, position, rank) over `positions`, the names of the columns.

    `aspect` is the drawing's width by its height. A position past the names gets its number for a name.
    """
    names = list(positions) + [
        str(p) for p in range(len(positions), 1 + max((n["position"] for n in nodes), default=-1))
    ]
    sites = sorted({n["site"] for n in nodes}, key=_depth, reverse=True)
    cells: dict[tuple[str | None, int], list[str]] = defaultdict(list)
    for node in sorted(nodes, key=lambda n: (n["rank"], n["node"])):
        cells[node["site"], node["position"]].append(node["node"])
    columns = _lanes(names, [max((len(cells.get((s, p), ())) for s in sites), default=0) for p in range(len(names))])
    rows = _lanes(
        [s or "logits" for s in sites], [max(len(cells.get((s, p), ())) for p in range(len(names))) for s in sites]
    )
    places: dict[str, tuple[float, float]] = {}
    for (site, position), members in cells.items():
        places |= _pack(members, columns[position], rows[sites.index(site)], aspect)
    return Layout(places, dict(enumerate(columns)), rows)


def _depth(site: str | None) -> tuple[int, int]:
    return Site.parse(site).depth if site else (10**6, 0)


def _lanes(names: Sequence[str], fullest: Sequence[int]) -> list[Lane]:
    weights = [1.6 + math.sqrt(count) for count in fullest]
    total, at, lanes = sum(weights), 0.0, []
    for name, weight in zip(names, weights, strict=True):
        lanes.append(Lane(name, at, at + weight / total))
        at += weight / total
    return lanes


def _pack(members: Sequence[str], column: Lane, row: Lane, aspect: float) -> dict[str, tuple[float, float]]:
    """`members` on a centred grid within the cell, the most important at the top left."""
    width, height = column.end - column.begin, row.end - row.begin
    across = max(1, min(len(members), round(math.sqrt(len(members) * width * aspect / height))))
    down = math.ceil(len(members) / across)
    places = {}
    for number, name in enumerate(members):
        line, place = divmod(number, across)
        in_line = min(across, len(members) - line * across)
        x = column.begin + width * (0.5 + 0.84 * (place - (in_line - 1) / 2) / across)
        places[name] = (round(x, 5), round(row.begin + height * (0.5 + 0.8 * (line - (down - 1) / 2) / down), 5))
    return places
