"""Charts, each with a text alternative: curves with intervals, points against the diagonal, a histogram.

Ranges and ticks are chosen here, drawing is `plot.js`'s; nothing here is random, so equal rows give equal pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dashboard.widgets.bits import interval, number, signed
from dashboard.widgets.component import mount, triggered

CURVES = (
    ("faithfulness", "value", 0),
    ("completeness", "value", 1),
    ("faithfulness", "control", 2),
    ("completeness", "control", 3),
)


def curve(
    key: str, evaluations: Sequence[Mapping[str, Any]], *, size: int, most: int, choose: Callable[[int], None]
) -> None:
    """Faithfulness and completeness by size, their random controls, and a slider that chooses `size` on that axis."""
    sizes = sorted({row["size"] for row in evaluations})
    series = [made for kind, column, style in CURVES if (made := _series(evaluations, kind, column, style))]
    values = [p["y"] for s in series for p in s["points"]] or [0.0, 1.0]
    data = {
        "series": series,
        "x": {
            "min": max(1, min(sizes)),
            "max": max(most, max(sizes)),
            "log": True,
            "ticks": sizes,
            "label": "nodes kept (log scale)",
        },
        "y": axis(min(0.0, *values), max(1.0, *values), label="share of the metric"),
        "marker": {"value": size, "unit": "nodes", "label": "How many of the most important nodes to show"},
        "height": 270,
        "alt": "; ".join(_spoken(s) for s in series),
    }
    mount("plot", data, key, on_size_change=lambda: choose(int(triggered(key, "size"))), on_pick_change=lambda: None)


def _series(rows: Sequence[Mapping[str, Any]], kind: str, column: str, style: int) -> dict[str, Any] | None:
    before = "" if column == "value" else f"{column}_"
    name = kind if column == "value" else f"random nodes, {kind}"
    points = [
        {
            "x": row["size"],
            "y": row[column],
            "lower": row[f"{before}lower"],
            "upper": row[f"{before}upper"],
            "text": f"{name} at {row['size']} nodes: {interval(row, column)}",
        }
        for row in sorted(rows, key=lambda row: row["size"])
        if row["kind"] == kind and row["mask"] == "nodes" and row[column] is not None
    ]
    return {"name": name, "points": points, "style": style} if points else None


def _spoken(series: Mapping[str, Any]) -> str:
    first, last = series["points"][0], series["points"][-1]
    ends = (f"{number(point['y'], 2)} at {point['x']} nodes" for point in (first, last))
    return f"{series['name']} goes from {' to '.join(ends)}"


def calibration(
    key: str, nodes: Sequence[Mapping[str, Any]], *, selected: str | None, pick: Callable[[str], None]
) -> None:
    """The exact effect of each verified node against its estimate; on the diagonal they agree."""
    points = [
        {
            "x": row["effect"],
            "y": row["verified"],
            "lower": row["verified_lower"],
            "upper": row["verified_upper"],
            "id": row["node"],
            "selected": row["node"] == selected,
            "style": 0 if row["effect"] * row["verified"] > 0 else 1,
            "text": f"{row['node']}\nestimated {signed(row['effect'])}, exact {signed(row['verified'])}",
        }
        for row in nodes
        if row["verified"] is not None and row["kind"] != "logit"
    ]
    ends = [p[k] for p in points for k in ("x", "y")]
    data = {
        "points": points,
        "diagonal": True,
        "height": 260,
        "x": axis(min(ends), max(ends), label="estimated effect"),
        "y": axis(min(ends), max(ends), label="exact effect"),
        "alt": f"Exact against estimated effect of {len(points)} verified nodes, with the diagonal on which they agree",
    }
    mount("plot", data, key, on_pick_change=lambda: pick(triggered(key, "pick")), on_size_change=lambda: None)


def histogram(key: str, edges: Sequence[float], counts: Sequence[int]) -> None:
    """How often each strength of activation occurs; the axis is the histogram's own (logarithmic if its edges are)."""
    log = edges[0] > 0 and edges[-1] / edges[0] > 3
    pairs = zip(edges[:-1], edges[1:], counts, strict=True)
    bars = [{"from": a, "to": b, "y": n, "text": f"{number(a, 2)} to {number(b, 2)}: {n:,}"} for a, b, n in pairs]
    ticks = _log_ticks(edges[0], edges[-1]) if log else _ticks(edges[0], edges[-1])
    data = {
        "bars": bars,
        "height": 150,
        "y": axis(0, max(counts), count=3),
        "x": {
            "min": edges[0],
            "max": edges[-1],
            "log": log,
            "ticks": ticks,
            "label": "activation" + (" (log scale)" if log else ""),
        },
        "alt": f"Histogram of {sum(counts):,} activations from {number(edges[0], 2)} to {number(edges[-1], 2)}",
    }
    mount("plot", data, key, on_pick_change=lambda: None, on_size_change=lambda: None)


def axis(low: float, high: float, *, label: str = "", count: int = 5) -> dict[str, Any]:
    """A linear axis from `low` to `high` with about `count` round ticks, widened to the outermost of them."""
    ticks = _ticks(low, high, count)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    low = min(low, ticks[0]) if ticks[0] - low < step / 4 else ticks[0] - step
    high = max(high, ticks[-1]) if high - ticks[-1] < step / 4 else ticks[-1] + step
    return {"min": low, "max": high, "ticks": _ticks(low, high, count), "label": label}


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    span = high - low or abs(high) or 1.0
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw), default=10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)] or [low]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return found or [low, high]
