"""Curves of training, one line for each kind of dictionary, and the front that the kinds make.

1. `kinds` pools seeds: lines are means over the dictionaries whose names differ in their seed alone. What all names have
   in common is left out of them.
2. Each kind has a colour and a dash, the same in every chart of a page (`legend`).
3. `pareto` draws points as `training.drawing` does: full on the front, pale within error, hollow when beaten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard.widgets.bits import escape, number
from dashboard.widgets.component import mount
from dashboard.widgets.plot import Figure, axis, draw, log_axis, point, series
from data.queries import DENSITY_EDGES
from training.drawing import Axis
from training.front import QUALITIES, Point, standings, word

STYLES = (0, 1, 4, 5, 6, 7)
"""Those of plot.css that are no control's."""
GLYPHS = {3: "━━", 1: "╍╍", 2: "┈┈"}
DASHES = tuple(GLYPHS)
CORNERS = {0: "●", 4: "■", 3: "▲", 5: "⬟", 6: "⬢"}
"""Of the mark of each architecture in turn, 0 being a circle; and what it looks like in a text."""
MOST = 18
"""Lines in a chart that can be told apart: six colours in three dashes."""


@dataclass(frozen=True)
class Measure:
    """A column of a curve, and how its axis is called; `floor` is the least that is shown."""

    column: str
    label: str
    floor: float | None = None


def kinds(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The kind of each `dictionary` of the curve: its name without its seed and without what all have in common."""
    names = {row["dictionary"]: re.sub(r" seed=\d+", "", row["dictionary"]).split(" ") for row in rows}
    common = set.intersection(*map(set, names.values())) if len({tuple(n) for n in names.values()}) > 1 else set()
    return {name: " ".join(w for w in words if w not in common) for name, words in names.items()}


def legend(shown: Sequence[str]) -> None:
    """Which line is which kind."""
    _legend([(GLYPHS[DASHES[i // 6 % 3]], kind) for i, kind in enumerate(shown)])


def shapes(found: Sequence[Point]) -> None:
    """Which mark of `pareto` is which architecture."""
    names = dict.fromkeys(point.kind.architecture for point in found)
    _legend([(list(CORNERS.values())[i % 5], name) for i, name in enumerate(names)])


def _legend(entries: Sequence[tuple[str, str]]) -> None:
    spans = (
        f'<span><i class="lw-k{STYLES[i % 6]}">{glyph}</i> {escape(name)}</span>'
        for i, (glyph, name) in enumerate(entries)
    )
    st.html(f'<div class="lw-legend">{"".join(spans)}</div>')


def lines(
    key: str, rows: Sequence[Mapping[str, Any]], measure: Measure, *, of: Mapping[str, str], by: str = "step"
) -> None:
    """A measure by step (or `by` tokens); `of` gives the kind of each dictionary, and lines come in the order of its
    kinds."""
    shown = list(dict.fromkeys(of.values()))[:MOST]
    found = [made for i, kind in enumerate(shown) if (made := _line(rows, measure, of, kind, i, by))]
    values = [point["y"] for line in found for point in line["points"]]
    if not values:
        return
    low = min(values) if measure.floor is None else max(measure.floor, min(values))
    data = {
        "series": found,
        "x": axis(0, max(row[by] for row in rows), label=by),
        "y": axis(low, max(*values, low + max(1e-3, abs(low) / 50)), label=measure.label),
        "height": 230,
        "alt": f"{measure.label} by {by}: "
        + "; ".join(_spoken(kind, line) for kind, line in zip(shown, found, strict=False)),
    }
    mount("plot", data, key, on_pick_change=lambda: None, on_size_change=lambda: None)


def _line(
    rows: Sequence[Mapping[str, Any]], measure: Measure, of: Mapping[str, str], kind: str, index: int, by: str
) -> dict[str, Any] | None:
    pooled: dict[int, list[float]] = {}
    for row in rows:
        if of[row["dictionary"]] == kind and row[measure.column] is not None:
            pooled.setdefault(row[by], []).append(row[measure.column])
    points = [
        {"x": x, "y": sum(v) / len(v), "text": f"{kind}\n{by} {x:,}: {number(sum(v) / len(v))}"}
        for x, v in sorted(pooled.items())
    ]
    style = {"style": STYLES[index % 6], "dash": DASHES[index // 6 % 3], "bare": len(points) > 60}
    return {"points": points, "name": kind, **style} if points else None


def _spoken(kind: str, line: Mapping[str, Any]) -> str:
    return f"{kind} ends at {number(line['points'][-1]['y'])}"


LOOKS = 5
"""Looks at a dictionary whose densities are drawn in one chart."""


def drift(key: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """How many latents of a dictionary fire how often, at some looks from the first to the last."""
    ordered = sorted(rows, key=lambda row: row["step"])
    last = len(ordered) - 1
    chosen = [ordered[round(i * last / (LOOKS - 1))] for i in range(LOOKS)] if last >= LOOKS else ordered
    looks = [_look(row, index) for index, row in enumerate(chosen)]
    most = max(point["y"] for look in looks for point in look["points"])
    never = "; ".join(f"{row['density_never']:,} never fire at step {row['step']:,}" for row in chosen)
    low, high = 10 ** DENSITY_EDGES[0], 10 ** DENSITY_EDGES[-1]
    across = log_axis(low, high, label="share of tokens (log scale)")
    draw(key, Figure(f"Latents by density; {never}", across, axis(0, most, label="latents"), series=looks, legend=True))
    st.html(f'<p class="lw-note">{escape(never)}. Which latents died or came back is not recorded, only how many.</p>')


def _look(row: Mapping[str, Any], index: int) -> dict[str, Any]:
    said = f"step {row['step']:,}"
    points = [
        point(10 ** ((a + b) / 2), n, f"{said}\n{n:,} latents between {10**a:.2g} and {10**b:.2g}")
        for a, b, n in zip(DENSITY_EDGES[:-1], DENSITY_EDGES[1:], row["density_counts"], strict=True)
    ]
    return series(said, points, STYLES[index % 6], dash=DASHES[index % 3])


def pareto(key: str, found: Sequence[Point], place: str, quality: str) -> None:
    """L0 against a quality at one place, numbered as in the table, the best linear code as a grey line."""
    names = list(dict.fromkeys(point.kind.architecture for point in found))
    chosen = [
        (index, point, word(standing))
        for index, (point, standing) in enumerate(zip(found, standings(found, quality), strict=True))
        if standing and point.kind.place == place
    ]
    if not chosen:
        return
    marks = [_mark(index, point, standing, quality, names) for index, point, standing in chosen]
    linear = [{"x": p.figures["l0"].value, "y": p.linear[quality]} for _, p, _ in chosen if quality in p.linear]
    across = [end for m in marks for end in (m["left"], m["right"])]
    low, high = max(0.5, min(across)) / 1.2, max(1.0, max(across)) * 1.2
    values = [m[end] for m in marks for end in ("lower", "upper")] + [p["y"] for p in linear]
    data = {
        "points": marks,
        "series": [{"points": sorted(linear, key=lambda p: p["x"]), "style": 2, "bare": True}] if linear else [],
        "x": {
            "min": low,
            "max": high,
            "log": True,
            "ticks": Axis(low, high, 0, 1, log=True).ticks(),
            "label": "L0 (log scale)",
        },
        "y": axis(min(values), max(values), label=QUALITIES[quality]),
        "height": 300,
        "alt": f"{QUALITIES[quality]} against L0 at {place}: "
        + "; ".join(m["text"].replace("\n", ", ") for m in marks),
    }
    mount("plot", data, key, on_pick_change=lambda: None, on_size_change=lambda: None)


def _mark(index: int, point: Point, standing: str, quality: str, names: Sequence[str]) -> dict[str, Any]:
    l0, value, kind = point.figures["l0"], point.figures[quality], point.kind
    architecture = names.index(kind.architecture)
    return {
        "x": l0.value, "left": l0.lower, "right": l0.upper, "y": value.value, "lower": value.lower, "upper": value.upper,
        "style": STYLES[architecture % 6], "corners": list(CORNERS)[architecture % 5],
        "radius": 5.2, "label": str(index + 1),
        "fill": {"<": "hollow", "~": "pale"}.get(standing[0], ""),
        "text": f"{index + 1}: {kind.architecture} {kind.latents} k={kind.k:g}\nL0 {number(l0.value, 1)}, "
                f"{QUALITIES[quality]} {number(value.value)}, {standing}",
    }  # fmt: skip
