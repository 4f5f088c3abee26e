"""Charts, each with a text alternative: lines with bands, points with whiskers, bars, rows of intervals.

1. A `Figure` is plain data: what `plot.js` draws in the page and `svg.py` writes as a file. `point`, `series` and the axes
   make its parts; `draw` mounts it. Every mark has a text that hovering, or an arrow key, shows.
2. `curve`, `calibration`, `histogram` and `forest` are the charts that several pages draw.

Ranges and ticks are chosen here; nothing is random, so equal rows give equal pictures. A style is a number of plot.css: 0
blue and whole, 1 vermillion and dashed, 2 and 3 grey and dotted (controls), 4 green, 5 purple, 6 amber, 7 the ink.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.widgets.bits import interval, number, signed
from dashboard.widgets.component import mount, triggered

Row = Mapping[str, Any]
Mark = dict[str, Any]

CURVES = (
    ("faithfulness", "value", 0),
    ("completeness", "value", 1),
    ("faithfulness", "control", 2),
    ("completeness", "control", 3),
)


@dataclass(frozen=True)
class Figure:
    """A chart. `x`, `y` and `right` are axes; `alt` says in words what it shows."""

    alt: str
    x: Mapping[str, Any]
    y: Mapping[str, Any]
    series: Sequence[Mark] = ()
    points: Sequence[Mark] = ()
    bars: Sequence[Mark] = ()
    lines: Sequence[Mark] = ()
    """Lines across the chart, each `{"x": where, "label": its name}`."""
    right: Mapping[str, Any] | None = None
    """A second axis, for the series that are `right`."""
    marker: Mapping[str, Any] | None = None
    """A slider on the axis of x: value, unit, label."""
    diagonal: bool = False
    legend: bool = False
    """Whether the names of the series stand below."""
    height: int = 240

    def data(self) -> dict[str, Any]:
        """What the script draws."""
        parts = ("alt", "x", "y", "series", "points", "bars", "lines", "right", "marker", "diagonal", "height")
        shown = {name: value for name in parts if (value := getattr(self, name))}
        keys = ("name", "style", "dash", "loose", "corners", "fill", "band")
        entries = [{k: s[k] for k in keys if k in s} for s in self.series if s.get("name")]
        return shown | ({"legend": entries} if self.legend and entries else {})


def draw(
    key: str, figure: Figure, *, pick: Callable[[str], None] | None = None, choose: Callable[[int], None] | None = None
) -> None:
    """Shows a figure; `pick` gets the id of a mark that is clicked, `choose` the value where the slider is let go."""

    def picked() -> None:
        if pick is not None:
            pick(triggered(key, "pick"))

    def chosen() -> None:
        if choose is not None:
            choose(int(triggered(key, "size")))

    mount("plot", figure.data(), key, on_pick_change=picked, on_size_change=chosen)


def point(x: float, y: float, text: str = "", **more: Any) -> Mark:
    """A mark: `lower` and `upper` (of y), `left` and `right` (of x), `id`, `selected`, `style`, `corners` (0 is round),
    `fill` ("", pale, hollow), `radius`, `label`. What is None is left out."""
    known = {name: value for name, value in more.items() if value is not None}
    return {"x": x, "y": y, "text": text, **known}


def series(name: str, points: Sequence[Mark], style: int = 0, **more: Any) -> Mark:
    """Points on one line, with a band where they have `lower` and `upper`: `dash` (1 dashed, 2 dotted, 3 whole, 4
    dash-dot; else the style's own), `bare` (no dots), `right` (on the second axis), `loose` (marks without a line)."""
    banded = sum(p.get("lower") is not None for p in points) > 1
    return {"name": name, "points": list(points), "style": style, **({"band": True} if banded else {}), **more}


def axis(low: float, high: float, *, label: str = "", count: int = 5, percent: bool = False) -> dict[str, Any]:
    """A linear axis from `low` to `high` with about `count` round ticks, widened to the outermost of them."""
    ticks = _ticks(low, high, count)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    low = min(low, ticks[0]) if ticks[0] - low < step / 4 else ticks[0] - step
    high = max(high, ticks[-1]) if high - ticks[-1] < step / 4 else ticks[-1] + step
    made = {"min": low, "max": high, "ticks": _ticks(low, high, count), "label": label}
    return made | ({"percent": True} if percent else {})


def log_axis(low: float, high: float, *, label: str = "", ticks: Sequence[float] = ()) -> dict[str, Any]:
    """A logarithmic axis from `low` > 0 to `high`; the ticks are 1, 2 and 5 times the powers of ten unless given."""
    return {"min": low, "max": high, "log": True, "ticks": list(ticks) or _log_ticks(low, high), "label": label}


def names_axis(names: Sequence[str]) -> dict[str, Any]:
    """An axis of names: the first, at 0, stands at the top."""
    below = len(names) - 0.4
    return {"min": below, "max": -0.6, "ticks": list(range(len(names))), "names": list(names), "label": ""}


def curve(key: str, evaluations: Sequence[Row], *, size: int, most: int, choose: Callable[[int], None]) -> None:
    """Faithfulness and completeness by size, their random controls, and a slider that chooses `size` on that axis."""
    draw(key, curve_figure(evaluations, size=size, most=most), choose=choose)


def curve_figure(evaluations: Sequence[Row], *, size: int | None = None, most: int = 1, mask: str = "nodes") -> Figure:
    """Rows of `evaluations` of one mask and one reference; with a slider if `size` is given."""
    sizes = sorted({row["size"] for row in evaluations})
    made = [s for kind, column, style in CURVES if (s := curve_series(evaluations, kind, column, style, mask=mask))]
    values = [p["y"] for s in made for p in s["points"]] or [0.0, 1.0]
    slider = {"value": size, "unit": mask, "label": f"How many of the most important {mask} to show"}
    return Figure(
        "; ".join(_spoken(s, mask) for s in made),
        log_axis(max(1, min(sizes)), max(most, *sizes), label=f"{mask} kept (log scale)", ticks=sizes),
        axis(min(0.0, *values), max(1.0, *values), label="share of the metric"),
        series=made,
        marker=None if size is None else slider,
        height=270,
    )


def curve_series(rows: Sequence[Row], kind: str, column: str, style: int, *, mask: str = "nodes") -> Mark | None:
    """The line of one `kind` of evaluation over size: its own value, or its `control`; None without a point."""
    before = "" if column == "value" else f"{column}_"
    name = kind if column == "value" else f"random {mask}, {kind}"
    points = [
        point(
            row["size"],
            row[column],
            f"{name} at {row['size']:,} {mask}: {interval(row, column)}",
            lower=row[f"{before}lower"],
            upper=row[f"{before}upper"],
        )
        for row in sorted(rows, key=lambda row: row["size"])
        if row["kind"] == kind and row["mask"] == mask and row[column] is not None
    ]
    return series(name, points, style) if points else None


def _spoken(line: Row, mask: str) -> str:
    first, last = line["points"][0], line["points"][-1]
    ends = (f"{number(p['y'], 2)} at {p['x']} {mask}" for p in (first, last))
    return f"{line['name']} goes from {' to '.join(ends)}"


def calibration(key: str, nodes: Sequence[Row], *, selected: str | None, pick: Callable[[str], None]) -> None:
    """The exact effect of each verified node against its estimate; on the diagonal they agree."""
    points = [
        point(
            row["effect"],
            row["verified"],
            f"{row['node']}\nestimated {signed(row['effect'])}, exact {signed(row['verified'])}",
            lower=row["verified_lower"],
            upper=row["verified_upper"],
            id=row["node"],
            selected=row["node"] == selected,
            style=0 if row["effect"] * row["verified"] > 0 else 1,
        )
        for row in nodes
        if row["verified"] is not None and row["kind"] != "logit"
    ]
    draw(key, calibration_figure(points, "verified nodes"), pick=pick)


def calibration_figure(points: Sequence[Mark], what: str) -> Figure:
    """Exact against estimated, with the diagonal on which they agree."""
    ends = [p[k] for p in points for k in ("x", "y")] or [0.0, 1.0]
    whole = [p[k] for p in points for k in ("x", "y", "lower", "upper") if p.get(k) is not None] or ends
    return Figure(
        f"Exact against estimated effect of {len(points)} {what}, with the diagonal on which they agree",
        axis(min(ends), max(ends), label="estimated effect"),
        axis(min(whole), max(whole), label="exact effect"),
        points=points,
        diagonal=True,
        height=260,
    )


def histogram(
    key: str, edges: Sequence[float], counts: Sequence[int], *, label: str = "activation", lines: Sequence[Mark] = ()
) -> None:
    """How often each value occurs; the axis is the histogram's own (logarithmic if its edges are). `lines` mark values."""
    draw(key, histogram_figure(edges, counts, label=label, lines=lines))


def histogram_figure(
    edges: Sequence[float], counts: Sequence[int], *, label: str = "activation", lines: Sequence[Mark] = ()
) -> Figure:
    """Bars between `edges`; below zero they are vermillion."""
    log = edges[0] > 0 and edges[-1] / edges[0] > 3
    pairs = zip(edges[:-1], edges[1:], counts, strict=True)
    bars = [
        {"from": a, "to": b, "y": n, "text": f"{number(a, 2)} to {number(b, 2)}: {n:,}", "style": 1 if b <= 0 else 0}
        for a, b, n in pairs
    ]
    ticks = _log_ticks(edges[0], edges[-1]) if log else _ticks(edges[0], edges[-1])
    ends = f"from {number(edges[0], 2)} to {number(edges[-1], 2)}"
    marked = "".join(f"; {line['label']} is at {number(line['x'], 2)}" for line in lines)
    across = {"min": edges[0], "max": edges[-1], "log": log, "ticks": ticks}
    return Figure(
        f"Histogram of {sum(counts):,} {label}s {ends}{marked}",
        across | {"label": label + (" (log scale)" if log else "")},
        axis(0, max(counts), count=3),
        bars=bars,
        lines=lines,
        height=150,
    )


def forest_figure(rows: Sequence[tuple[str, Sequence[Mark]]], *, label: str, alt: str, height: int = 0) -> Figure:
    """A line for each name with its marks (`point(value, 0, text, left=, right=)`), such as estimates beside controls."""
    points = [{**mark, "y": place} for place, (_, marks) in enumerate(rows) for mark in marks]
    ends = [p[k] for p in points for k in ("x", "left", "right") if p.get(k) is not None]
    return Figure(
        alt,
        axis(min(0.0, *ends), max(0.0, *ends), label=label),
        names_axis([name for name, _ in rows]),
        points=points,
        height=height or 56 + 26 * len(rows),
    )


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    span = high - low or abs(high) or 1.0
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw), default=10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)] or [low]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 3 else (1,)
    found = [m * 10.0**p for p in powers for m in steps if low <= m * 10.0**p <= high]
    return found or [low, high]
