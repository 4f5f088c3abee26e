"""Dots with intervals: a row for each thing compared, a panel for each measure, all rows at one height.

A full dot is the value and the line its interval; a hollow square is the control; a line across the chart is what chance
would give. What lies beyond an axis stands at its end, hollow, and says so. The numbers belong into a table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard.widgets import plot
from dashboard.widgets.bits import number
from dashboard.widgets.plot import Figure, Mark

ROW = 24
"""Pixels of a row."""
WIDTH = 1300.0
"""Pixels of all panels together, as a page usually is."""


@dataclass(frozen=True)
class Dot:
    """A value with its interval and its control; `style` is a colour of plot.css."""

    value: float | None
    lower: float | None = None
    upper: float | None = None
    control: float | None = None
    style: int = 0
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """A measure: a dot, or None, for each row; `reference` is chance, and `low` and `high` bound its axis."""

    title: str
    dots: Sequence[Dot | None]
    reference: float | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    control: str = "control"
    """What the squares are."""


def dots(key: str, names: Sequence[str], panels: Sequence[Panel]) -> None:
    """Draws the panels side by side, the names of the rows beside the first; panels without any value are left out."""
    drawn = [panel for panel in panels if any(d is not None and d.value is not None for d in panel.dots)]
    if not drawn:
        return
    columns = st.columns(_widths(names, len(drawn)), gap="small") if len(drawn) > 1 else [st.container()]
    for place, (column, panel) in enumerate(zip(columns, drawn, strict=True)):
        with column:
            plot.draw(f"{key}_{place}", figure(names, panel, named=place == 0))


def _widths(names: Sequence[str], panels: int) -> list[float]:
    """The first panel has the names beside it, and is as wide as the others without them."""
    room = 6.6 * min(30, max(len(name) for name in names)) - 26
    each = max(120.0, (WIDTH - room) / panels)
    return [each + max(0.0, room), *[each] * (panels - 1)]


def legend(control: str) -> str:
    """What the marks are, as HTML."""
    return (
        '<div class="lw-legend"><span><i class="lw-blue">●</i> value with its 95 % interval</span>'
        f"<span>□ {control}</span></div>"
    )


def figure(names: Sequence[str], panel: Panel, *, named: bool = True) -> Figure:
    """One panel; without its names when they stand beside another."""
    across = _axis(panel)
    low, high = across["min"], across["max"]
    marks = [
        made
        for place, (name, dot) in enumerate(zip(names, panel.dots, strict=True))
        if dot is not None
        for made in _marks(panel, name, dot, place, (low, high))
    ]
    said = "; ".join(f"{n} {number(d.value, 2)}" for n, d in zip(names, panel.dots, strict=True) if d is not None)
    return Figure(
        f"{panel.title}: {said}",
        across,
        plot.names_axis(names if named else [""] * len(names)),
        points=marks,
        lines=[{"x": panel.reference, "label": ""}] if panel.reference is not None else (),
        height=56 + ROW * len(names),
    )


def _marks(panel: Panel, name: str, dot: Dot, place: int, ends: tuple[float, float]) -> list[Mark]:
    if dot.value is None:
        return []
    interval = "" if dot.lower is None else f" [{number(dot.lower, 2)}, {number(dot.upper, 2)}]"
    said = f"{name}\n{panel.title} {number(dot.value, 2)}{interval}"
    said += "" if dot.control is None else f"\n{panel.control} {number(dot.control, 2)}"
    said += f"\n{dot.note}" if dot.note else ""
    beyond = not ends[0] <= dot.value <= ends[1]
    whole = plot.point(
        _within(dot.value, ends), place, said + ("\nbeyond the axis" if beyond else ""), style=dot.style, radius=4,
        left=_within(dot.lower, ends), right=_within(dot.upper, ends), fill="hollow" if beyond else "",
    )  # fmt: skip
    if dot.control is None:
        return [whole]
    square = plot.point(
        _within(dot.control, ends) or 0.0, place, f"{name}\n{panel.control} {number(dot.control, 2)}",
        style=2, corners=4, fill="hollow", radius=4,
    )  # fmt: skip
    return [square, whole]


def _within(value: float | None, ends: tuple[float, float]) -> float:
    return None if value is None else min(max(value, ends[0]), ends[1])  # pyright: ignore[reportReturnType]


def _axis(panel: Panel) -> dict[str, Any]:
    known = [d for d in panel.dots if d is not None and d.value is not None]
    ends = [e for d in known for e in (d.value, d.lower, d.upper, d.control) if e is not None and math.isfinite(e)]
    ends += [panel.reference] if panel.reference is not None else []
    low = min(ends) if panel.low is None else panel.low
    high = max(ends) if panel.high is None else panel.high
    if panel.log:
        positive = [e for e in ends if e > 0] or [1.0]
        return plot.log_axis(min(positive) / 1.3, max(positive) * 1.3, label=panel.title)
    made = plot.axis(low, high, label=panel.title, count=4)
    made |= {"min": low} if panel.low is not None else {}
    return made | ({"max": high} if panel.high is not None else {})
