"""What the parts of a comparison of circuits share: which two, how their nodes correspond, and drawings of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard import source
from dashboard.widgets import bits, butterfly, plot, tokens
from data.queries import of_comparison

Row = Mapping[str, Any]

MOST = 1500
"""Nodes in the chart: the ones that differ most."""
MARKS = {"both": (0, 0), "left only": (1, 4), "right only": (4, 3)}
"""How a node is drawn by where it is: a style of plot.css and the corners of its mark."""


@dataclass(frozen=True)
class Setting:
    """Two circuits (rows of `queries.circuits`), how their nodes correspond, and the run that tested them, if any."""

    left: Row
    right: Row
    by: str
    run: Row | None = None

    @property
    def pair(self) -> tuple[str, str]:
        return self.left["circuit"], self.right["circuit"]

    @property
    def turned(self) -> bool:
        """Whether the test has our right circuit at its left."""
        return self.run is not None and self.run["config"]["left"] != self.left["circuit"]


def way(left: Sequence[str], right: Sequence[str]) -> str:
    """How nodes of prompts with these roles correspond, as `circuits.columns.places` has it: by position where the prompts
    have one shape, by role where each role stands once and most are shared, else wherever they are."""
    if list(left) == list(right):
        return "position"
    shared = [role for role in left if role in right]
    once = len(set(left)) == len(left) and len(set(right)) == len(right)
    return "role" if once and 2 * len(shared) > min(len(left), len(right)) else "anywhere"


def write(name: str) -> Callable[[str], None]:
    """A callback that writes what was picked to the address, back on the first page."""

    def written(value: str) -> None:
        st.query_params.pop("page", None)
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)

    return written


def overview(setting: Setting, words: Mapping[str, str]) -> None:
    """Both circuits by site and place."""
    rows = source.ask(of_comparison.by_place, *setting.pair, setting.by)
    butterfly.butterfly(
        "compare_places", rows, _columns(setting, rows), words=words,
        selected=st.query_params.get("cell", ""), pick=write("cell"),
    )  # fmt: skip
    st.html(butterfly.LEGEND)


def _columns(setting: Setting, rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """The places as (place, label, note), in the order of the prompts."""
    found = dict.fromkeys(row["place"] for row in rows)
    if setting.by == "anywhere":
        return [("", "all positions", "")]
    prompts = [c["prompt"] or {} for c in (setting.left, setting.right)]
    roles = [prompt.get("roles") or [] for prompt in prompts]
    if setting.by == "role":
        order = [role for role in dict.fromkeys([*roles[0], *roles[1]]) if role in found]
        return [(role, tokens.readable(role), "") for role in [*order, *(p for p in found if p not in order)]]
    places = sorted(found, key=int)
    return [(place, f"{place} {_at(roles[0], place)}", _spelled(prompts, place)) for place in places]


def _at(texts: Sequence[str], place: str) -> str:
    return tokens.readable(texts[int(place)], 24) if int(place) < len(texts) else ""


def _spelled(prompts: Sequence[Row], place: str) -> str:
    """The token there in each circuit's example prompt."""
    said = [_at(prompt.get("tokens") or [], place) for prompt in prompts]
    return said[0] if said[0] == said[1] else f"{said[0]} | {said[1]}"


def scatter(setting: Setting) -> None:
    """The effects of the nodes in both circuits, against each other."""
    rows = source.ask(of_comparison.beside, *setting.pair, setting.by, limit=MOST)
    if not rows:
        bits.gap("Neither circuit has a node to draw.")
        return
    points = [_point(row) for row in reversed(rows)]
    ends = [p[k] for p in points for k in ("x", "y")]
    across = plot.axis(min(0.0, *ends), max(0.0, *ends))
    shared = sum(membership(row) == "both" for row in rows)
    figure = plot.Figure(
        f"Effects in the right circuit against those in the left of {len(rows)} nodes, {shared} of them in both",
        across | {"label": "effect in the left circuit"},
        across | {"label": "effect in the right circuit"},
        points=points,
        diagonal=True,
        height=340,
    )
    plot.draw("compare_scatter", figure)
    more = rows[0]["total"] - len(rows)
    st.html(
        '<div class="lw-legend"><span><i class="lw-k0">●</i> in both</span><span><i class="lw-k1">■</i> left only</span>'
        '<span><i class="lw-k4">▲</i> right only: drawn at 0 of the other</span>'
        f"{f'<span>{more:,} more differ less and are not drawn</span>' if more > 0 else ''}</div>"
    )


def _point(row: Row) -> plot.Mark:
    style, corners = MARKS[membership(row)]
    left, right = row["left_effect"], row["right_effect"]
    text = f"{name_of(row)}, {membership(row)}\nleft {bits.signed(left)}, right {bits.signed(right)}"
    text += f"\n{tokens.readable(row['text'], 80)}" if row["text"] else ""
    return plot.point(left or 0.0, right or 0.0, text, style=style, corners=corners, radius=3.4)


def membership(row: Row) -> str:
    """Which of the two circuits holds a node of `of_comparison.beside`."""
    if row["left_effect"] is None:
        return "right only"
    return "left only" if row["right_effect"] is None else "both"


def name_of(row: Row) -> str:
    """A node of both circuits, as its site, what it is, and where."""
    what = row["kind"] if row["latent"] is None else f"{row['kind']}:{row['latent']}"
    where = f" @ {tokens.readable(row['place'], 24)}" if row["place"] else ""
    return f"{row['site'] or 'input'}/{what}{where}"
