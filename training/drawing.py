"""A front as a picture: SVG, written without a plotting library, to be read on paper and in black and white.

1. For each place two panels side by side: explained variance and CE recovered, each against L0 on a log scale.
2. An architecture has a shape and a colour. Points that are surely beaten are hollow, those beaten within the errors are
   pale, the front is joined by a line. Bars are the intervals of `training.front`, numbers those of its table.
3. The grey dashed line is the best linear code with as many components as L0.

Colours are those of Okabe & Ito (2008), which colour-blind people tell apart. Texts are escaped by ElementTree.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from data.store import Workspace
from data.words import Estimate
from training.front import QUALITIES, Point, Standing, standings

WIDE, HIGH = 470, 340
"""One panel, in pixels, with its margins."""
LEFT, RIGHT, TOP, BOTTOM = 66, 16, 40, 56
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
SIDES = (0, 4, 3, -4, -3, 6, 5)
"""Corners of each shape in turn: 0 is a circle; a negative number stands on its head (4: square, -4: diamond)."""
TICKS = (1, 1.5, 2, 3, 4, 5, 7)
GREY = "#5a6470"


@dataclass(frozen=True)
class Axis:
    """Where values are drawn: `low` at pixel `start`, `high` at pixel `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        a, b, v = (math.log(max(n, 1e-9)) if self.log else n for n in (self.low, self.high, value))
        share = (v - a) / (b - a)
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values within the axis, about five of them."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [m * 10.0**p for p in powers for m in TICKS if self.low <= m * 10.0**p <= self.high]
            if len(found) > 2:
                return found[:: math.ceil(len(found) / 7)]
        raw = (self.high - self.low) / 5
        power = 10 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
        return [i * step for i in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]


def save(workspace: Workspace, run: str, found: Sequence[Point]) -> Path:
    """Draws the front into metrics/RUN/front.svg, whole or not at all, and returns the path."""
    path = workspace.folder / "metrics" / run / "front.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_text(draw(found), encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def draw(found: Sequence[Point]) -> str:
    """The picture of `found`, as SVG."""
    places = list(dict.fromkeys(point.kind.place for point in found))
    names = list(dict.fromkeys(point.kind.architecture for point in found))
    width, height = WIDE * len(QUALITIES), HIGH * len(places) + 26 * (len(names) // 4 + 2)
    root = Element("svg", {
        "xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "width": str(width),
        "height": str(height), "font-family": "Helvetica, Arial, 'DejaVu Sans', sans-serif", "font-size": "13",
        "fill": "#1b2430", "role": "img",
    })  # fmt: skip
    SubElement(
        root, "title"
    ).text = f"L0 against {' and '.join(QUALITIES.values())} of {len(found)} kinds of dictionary"
    SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    for column, quality in enumerate(QUALITIES):
        standing = standings(found, quality)
        for row, place in enumerate(places):
            panel = SubElement(root, "g", {"transform": f"translate({WIDE * column} {HIGH * row})"})
            chosen = [
                (i, p, s) for i, (p, s) in enumerate(zip(found, standing, strict=True)) if s and p.kind.place == place
            ]
            _panel(panel, place, quality, chosen, names)
    _legend(root, names, HIGH * len(places))
    return ElementTree.tostring(root, encoding="unicode")


def _panel(
    panel: Element, place: str, quality: str, chosen: Sequence[tuple[int, Point, Standing]], names: Sequence[str]
) -> None:
    _text(panel, (LEFT, 24), f"{QUALITIES[quality]}, {place}", weight="bold")
    if not chosen:
        _text(panel, (LEFT, HIGH / 2), "not measured", fill=GREY)
        return
    x, y = _axes([point for _, point, _ in chosen], quality)
    _frame(panel, x, y, QUALITIES[quality])
    linear = [(p.figures["l0"].value, p.linear[quality]) for _, p, _ in chosen if quality in p.linear]
    _line(panel, x, y, sorted(linear), stroke=GREY, dash="6 4")
    front = [(p.figures["l0"].value, p.figures[quality].value) for _, p, s in chosen if s.rival is None]
    _line(panel, x, y, sorted(front), stroke="#1b2430", dash="")
    taken: list[tuple[float, float]] = []
    for _, point, standing in chosen:
        l0, value = point.figures["l0"], point.figures[quality]
        _bars(panel, x, y, l0, value)
        at = x(l0.value), y(value.value)
        mark(panel, at, names.index(point.kind.architecture), standing)
        taken.append(at)
    for (index, _, _), at in zip(chosen, taken[:], strict=True):
        taken.append(_room(at, taken))
        _text(panel, (taken[-1][0], taken[-1][1] + 4), str(index + 1), anchor="middle", fill=GREY)


def _room(at: tuple[float, float], taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where a number beside the mark at `at` stands clear of all that is `taken`, and away from its neighbours."""
    around = [(at[0] + 15 * across, at[1] + 15 * up) for across in (1, -1, 0) for up in (0, -1, 1) if across or up]
    near = [other for other in taken if 0 < math.dist(at, other) < 40]

    def clear(place: tuple[float, float]) -> float:
        return min(14.0, *(math.dist(place, other) for other in taken)) + sum(math.dist(place, o) for o in near) / 40

    return max(around, key=clear)


def _axes(chosen: Sequence[Point], quality: str) -> tuple[Axis, Axis]:
    """Axes that hold every point with its bars and the linear code, and a little room."""
    l0 = [end for p in chosen for end in (p.figures["l0"].lower, p.figures["l0"].upper)]
    values = [end for p in chosen for end in (p.figures[quality].lower, p.figures[quality].upper)]
    values += [p.linear[quality] for p in chosen if quality in p.linear]
    low, high = max(0.5, min(l0)) / 1.25, max(1.0, max(l0)) * 1.25
    room = max(0.02, 0.08 * (max(values) - min(values)))
    across = Axis(low, high, LEFT, WIDE - RIGHT, log=True)
    return across, Axis(min(values) - room, max(values) + room, HIGH - BOTTOM, TOP)


def _frame(panel: Element, x: Axis, y: Axis, label: str) -> None:
    bottom, middle = HIGH - BOTTOM, (TOP + HIGH - BOTTOM) / 2
    for value in y.ticks():
        _path(panel, f"M{x.start} {y(value)}H{x.end}", "#dfe4ea")
        _text(panel, (LEFT - 8, y(value) + 4), f"{value:.3g}", anchor="end")
    _path(panel, f"M{x.start} {y.end}V{bottom}H{x.end}", "#1b2430")
    for value in x.ticks():
        _path(panel, f"M{x(value)} {bottom}v5", "#1b2430")
        _text(panel, (x(value), bottom + 20), f"{value:g}", anchor="middle")
    _text(panel, ((x.start + x.end) / 2, HIGH - 14), "L0 (active latents per token, log scale)", anchor="middle")
    upright = _text(panel, (0, 0), f"{label} (share of 1)", anchor="middle")
    upright.set("transform", f"translate(16 {middle}) rotate(-90)")


def _bars(panel: Element, x: Axis, y: Axis, l0: Estimate, value: Estimate) -> None:
    across, up = x(l0.value), y(value.value)
    _path(panel, f"M{across} {y(value.lower)}V{y(value.upper)}M{x(l0.lower)} {up}H{x(l0.upper)}", GREY)


def mark(parent: Element, at: tuple[float, float], number: int, standing: Standing) -> None:
    """The shape of architecture `number`: full on the front, hollow when surely beaten, pale when perhaps."""
    colour, sides = COLOURS[number % len(COLOURS)], SIDES[number % len(SIDES)]
    beaten = standing.rival is not None
    fill = {"fill": "#ffffff" if beaten else colour, "stroke": colour, "stroke-width": "1.8"}
    if beaten and not standing.surely:
        fill |= {"fill": _pale(colour)}
    if sides == 0:
        SubElement(parent, "circle", {"cx": f"{at[0]:g}", "cy": f"{at[1]:g}", "r": "5.5", **fill})
        return
    turn = {4: math.pi / 4, -4: 0.0}.get(sides, -math.pi / 2 * math.copysign(1, sides))
    angles = [turn + 2 * math.pi * i / abs(sides) for i in range(abs(sides))]
    corners = " ".join(f"{at[0] + 7 * math.cos(a):.1f},{at[1] + 7 * math.sin(a):.1f}" for a in angles)
    SubElement(parent, "polygon", {"points": corners, **fill})


def _pale(colour: str) -> str:
    """Half way to white: still full in black and white beside a hollow one."""
    return "#" + "".join(f"{(int(colour[i : i + 2], 16) + 255) // 2:02x}" for i in (1, 3, 5))


def _legend(root: Element, names: Sequence[str], top: float) -> None:
    for number, name in enumerate(names):
        at = LEFT + 215 * (number % 4), top + 12 + 26 * (number // 4)
        mark(root, at, number, Standing(None))
        _text(root, (at[0] + 14, at[1] + 5), name)
    at = top + 12 + 26 * (len(names) // 4 + (len(names) % 4 > 0))
    words = (
        "full: on the front · pale: beaten, but within the errors · hollow: beaten · grey: best linear code of that L0"
    )
    _text(root, (LEFT, at + 5), words, fill=GREY)


def _line(panel: Element, x: Axis, y: Axis, points: Sequence[tuple[float, float]], *, stroke: str, dash: str) -> None:
    if len(points) > 1:
        line = _path(panel, "M" + "L".join(f"{x(a)} {y(b)}" for a, b in points), stroke)
        line.set("stroke-dasharray", dash or "none")


def _path(parent: Element, way: str, stroke: str) -> Element:
    return SubElement(parent, "path", {"d": way, "stroke": stroke, "fill": "none"})


def _text(
    parent: Element, at: tuple[float, float], text: str, *, anchor: str = "start", fill: str = "", weight: str = ""
) -> Element:
    options = {"text-anchor": anchor} | ({"fill": fill} if fill else {}) | ({"font-weight": weight} if weight else {})
    found = SubElement(parent, "text", {"x": f"{at[0]:g}", "y": f"{at[1]:g}", **options})
    found.text = "".join(c for c in text if c.isprintable())
    return found
