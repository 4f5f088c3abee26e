"""A chart as an SVG file, for what is taken away: the same `Figure` that `plot.js` draws, with its colours written in.

1. Axes, bars, bands, lines, marks and lines across, in that order; the legend below; every mark has its values as a title.
2. All texts are escaped; nothing is fetched, and there is no script.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dashboard.widgets import bits
from dashboard.widgets.plot import Figure

Row = Mapping[str, Any]
Place = Callable[[float], float]
LIGHT = {"ink": "#1b2430", "quiet": "#55606e", "line": "#d5dbe2", "paper": "#ffffff",
         "styles": ("#0067a3", "#ad4700", "#55606e", "#55606e", "#00735a", "#96457c", "#7a5200", "#1b2430")}  # fmt: skip
DARK = {"ink": "#e4e8ee", "quiet": "#a3adba", "line": "#343e4b", "paper": "#11161d",
        "styles": ("#6cc0f0", "#f59b63", "#a3adba", "#a3adba", "#4fc9a4", "#e0a1c8", "#efc05a", "#e4e8ee")}  # fmt: skip
DASHES = {1: "6 3", 2: "2 3", 3: "", 4: "2 3 6 3"}
OWN_DASH = {1: 1, 2: 2, 3: 4}
"""The dash of a style that is told none, as in plot.css."""
TOP, BOTTOM = 16, 40


def svg(figure: Figure, width: int = 640, *, dark: bool = False) -> str:
    """`figure` as a whole SVG document, `width` pixels wide."""
    look = DARK if dark else LIGHT
    entries = [s for s in figure.series if s.get("name")] if figure.legend else []
    height = figure.height + 18 * len(entries)
    left = max(52.0, 26 + 7 * max((len(_written(figure.y, t)) for t in figure.y["ticks"]), default=0))
    right = 60 if figure.right else 14
    x = _scale(figure.x, left, width - right)
    y = _scale(figure.y, figure.height - BOTTOM, TOP)
    other = _scale(figure.right, figure.height - BOTTOM, TOP) if figure.right else y
    area = (left, width - right, TOP, figure.height - BOTTOM)
    body = [
        *_axes(figure, look, x, y, area), *_second(figure, look, other, area), *_bars(figure, look, x, y),
        *_lines(figure, look, x, lambda s: other if s.get("right") else y), *_points(figure, look, x, y, figure.points),
        *_across(figure, look, x, area), *_legend(look, entries, figure.height),
    ]  # fmt: skip
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="12"><title>{escape(figure.alt)}</title>'
        f'<rect width="{width}" height="{height}" fill="{look["paper"]}"/>'
    )
    return head + "".join(body) + "</svg>"


def escape(text: object) -> str:
    """`text` safe inside XML, in which most control characters may not stand at all."""
    return bits.escape(re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", str(text)))


def _scale(axis: Row, start: float, end: float) -> Place:
    change = math.log if axis.get("log") else float
    low, high = change(axis["min"]), change(axis["max"])
    return lambda v: round(start + (change(v) - low) / ((high - low) or 1.0) * (end - start), 2)


def _written(axis: Row, tick: float) -> str:
    if axis.get("names"):
        name = axis["names"][tick]
        return name if len(name) <= 30 else name[:29] + "…"
    text = f"{100 * tick:.3g} %" if axis.get("percent") else f"{tick:,.0f}" if abs(tick) >= 1000 else f"{tick:.3g}"
    return text.replace("-", "−")


def _text(x: float, y: float, text: str, colour: str, *, anchor: str = "middle", turn: bool = False) -> str:
    turned = f' transform="rotate(-90 {x} {y})"' if turn else ""
    return f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}"{turned}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{dashed}/>'


def _axes(figure: Figure, look: Row, x: Place, y: Place, area: tuple[float, ...]) -> Iterator[str]:
    left, right, top, bottom = area
    for tick in figure.y["ticks"]:
        yield _line(left, y(tick), right, y(tick), look["line"])
        yield _text(left - 6, y(tick) + 4, _written(figure.y, tick), look["quiet"], anchor="end")
    yield _line(left, bottom, right, bottom, look["quiet"])
    taken = -99.0
    for tick in figure.x["ticks"]:
        room = 3.3 * len(_written(figure.x, tick)) + 6
        if x(tick) - room >= taken and left - 1 <= x(tick) <= right + 1:
            taken = x(tick) + room
            yield _line(x(tick), bottom, x(tick), bottom + 4, look["quiet"])
            yield _text(x(tick), bottom + 17, _written(figure.x, tick), look["quiet"])
    yield _text((left + right) / 2, bottom + 34, figure.x["label"], look["quiet"])
    if figure.y.get("label"):
        yield _text(14, (top + bottom) / 2, figure.y["label"], look["quiet"], turn=True)
    if figure.diagonal:
        low, high = max(figure.x["min"], figure.y["min"]), min(figure.x["max"], figure.y["max"])
        yield _line(x(low), y(low), x(high), y(high), look["quiet"], "4 3")


def _second(figure: Figure, look: Row, y: Place, area: tuple[float, ...]) -> Iterator[str]:
    _, right, top, bottom = area
    for tick in figure.right["ticks"] if figure.right else ():
        yield _text(right + 6, y(tick) + 4, _written(figure.right or {}, tick), look["quiet"], anchor="start")
    if figure.right and figure.right.get("label"):
        yield _text(right + 52, (top + bottom) / 2, figure.right["label"], look["quiet"], turn=True)


def _bars(figure: Figure, look: Row, x: Place, y: Place) -> Iterator[str]:
    floor = y(max(0.0, figure.y["min"]))
    for bar in figure.bars:
        width, head = max(1.0, x(bar["to"]) - x(bar["from"]) - 1), min(y(bar["y"]), floor)
        yield (
            f'<rect x="{x(bar["from"]) + 0.5}" y="{head}" width="{width}" height="{abs(floor - y(bar["y"]))}" '
            f'fill="{look["styles"][bar.get("style", 0)]}">{_title(bar)}</rect>'
        )


def _lines(figure: Figure, look: Row, x: Place, of: Callable[[Row], Place]) -> Iterator[str]:
    for line in figure.series:
        y, colour = of(line), look["styles"][line["style"]]
        banded = [p for p in line["points"] if p.get("lower") is not None]
        if len(banded) > 1:
            edge = [(p, "upper") for p in banded] + [(p, "lower") for p in reversed(banded)]
            corners = " ".join(f"{x(p['x'])},{y(p[end])}" for p, end in edge)
            yield f'<polygon points="{corners}" fill="{colour}" fill-opacity="0.16"/>'
    for line in figure.series:
        y, colour = of(line), look["styles"][line["style"]]
        if line.get("loose"):
            marks = [{**p, "style": line["style"], "corners": line.get("corners", 0)} for p in line["points"]]
            yield from _points(figure, look, x, y, marks)
        elif line["points"]:
            path = "L".join(f"{x(p['x'])} {y(p['y'])}" for p in line["points"])
            dash = DASHES[line.get("dash") or OWN_DASH.get(line["style"], 3)] or "none"
            yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dash}"/>'
            if not line.get("bare"):
                dots = [
                    {**p, "style": line["style"], "radius": 2.6, "lower": None, "left": None} for p in line["points"]
                ]
                yield from _points(figure, look, x, y, dots)


def _points(figure: Figure, look: Row, x: Place, y: Place, points: Any) -> Iterator[str]:
    for p in points:
        colour, across, up = look["styles"][p.get("style", 0)], x(p["x"]), y(p["y"])
        if p.get("lower") is not None and p in figure.points:
            yield _line(across, y(p["lower"]), across, y(p["upper"]), colour)
        if p.get("left") is not None:
            yield _line(x(p["left"]), up, x(p["right"]), up, colour)
        inside = look["paper"] if p.get("fill") == "hollow" else colour
        yield f'{_shape(p, across, up)} fill="{inside}" stroke="{colour}">{_title(p)}</{_kind(p)}>'
        if p.get("label"):
            yield _text(across, up - 9, p["label"], look["quiet"])


def _kind(p: Row) -> str:
    return "polygon" if p.get("corners") else "circle"


def _shape(p: Row, x: float, y: float) -> str:
    size, corners = p.get("radius") or 3.2, p.get("corners") or 0
    if not corners:
        return f'<circle cx="{x}" cy="{y}" r="{size}"'
    turn = math.pi / 4 if corners == 4 else -math.pi / 2
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    places = " ".join(f"{x + 1.25 * size * math.cos(a):.2f},{y + 1.25 * size * math.sin(a):.2f}" for a in angles)
    return f'<polygon points="{places}"'


def _title(mark: Row) -> str:
    return f"<title>{escape(mark['text'])}</title>" if mark.get("text") else ""


def _across(figure: Figure, look: Row, x: Place, area: tuple[float, ...]) -> Iterator[str]:
    left, right, top, bottom = area
    for number, line in enumerate(figure.lines):
        place = x(max(figure.x["min"], min(figure.x["max"], line["x"])))
        late = place > (left + right) / 2
        yield _line(place, top, place, bottom, look["ink"], "3 3")
        yield _text(place - 4 if late else place + 4, top + 10 + 14 * number, line["label"], look["ink"],
                    anchor="end" if late else "start")  # fmt: skip


def _legend(look: Row, entries: Sequence[Row], top: int) -> Iterator[str]:
    for number, entry in enumerate(entries):
        y, colour = top + 12 + 18 * number, look["styles"][entry["style"]]
        dash = DASHES[entry.get("dash") or OWN_DASH.get(entry["style"], 3)]
        if entry.get("loose"):
            yield f'{_shape(entry, 27, y - 4)} fill="{colour}"/>'
        else:
            yield _line(14, y - 4, 40, y - 4, colour, dash)
        yield _text(46, y, entry["name"], look["quiet"], anchor="start")
