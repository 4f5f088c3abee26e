"""Curves of a circuit over its size, as figures: means with the knee, references side by side, single pairs, error nodes.

1. The knee is the evaluated size farthest above the straight line from the first point to the last, over the logarithm
   of the size.
2. The share of error nodes is of the absolute estimated effect of the nodes kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from dashboard.widgets import bits, plot
from dashboard.widgets.plot import Figure, Mark

Row = Mapping[str, Any]
REFERENCES = (0, 4, 5, 6, 1, 7)
"""Styles of the references, where all are shown."""
POINTS = 80
"""Sizes at which the share of error nodes is drawn."""


def means(rows: Sequence[Row], mask: str = "nodes") -> Figure:
    """Faithfulness and completeness with intervals, random circuits, and the knee."""
    made = plot.curve_figure(rows, mask=mask)
    at = knee([row for row in rows if row["kind"] == "faithfulness"])
    if at is None:
        return made
    line = {"x": at, "label": f"knee {at:,}", "text": f"knee: {at:,} {mask} lie farthest above the straight line"}
    return replace(made, lines=[line], alt=f"{made.alt}; the knee is at {at} {mask}")


def side_by_side(rows: Sequence[Row], mask: str) -> Figure:
    """Faithfulness at every reference; the random control of each is told beside its value."""
    made = plot.curve_figure(rows, mask=mask)
    lines = []
    for number, name in enumerate(sorted({row["ablation"] for row in rows})):
        points = [
            plot.point(
                row["size"],
                row["value"],
                f"{name}, faithfulness at {row['size']:,} {mask}: {bits.interval(row)}\n"
                f"random: {bits.interval(row, 'control')}",
                lower=row["lower"],
                upper=row["upper"],
            )
            for row in sorted(rows, key=lambda row: row["size"])
            if row["ablation"] == name and row["kind"] == "faithfulness"
        ]
        lines.append(plot.series(name, points, REFERENCES[number % 6], dash=(3, 1, 2, 4)[number % 4]))
    values = [p["y"] for line in lines for p in line["points"]]
    said = "; ".join(f"{s['name']} ends at {bits.number(s['points'][-1]['y'], 2)}" for s in lines if s["points"])
    y = plot.axis(min(0.0, *values), max(1.0, *values), label="faithfulness")
    return replace(made, series=[s for s in lines if s["points"]], y=y, alt=f"Faithfulness at each reference: {said}")


def of_pairs(rows: Sequence[Row]) -> Figure:
    """How single pairs lie: the median with the middle eight tenths, and the worst pair."""
    made = plot.curve_figure(rows)
    lines: list[Mark] = []
    for kind, style in (("faithfulness", 0), ("completeness", 1)):
        mine = sorted((r for r in rows if r["kind"] == kind and r["median"] is not None), key=lambda r: r["size"])
        if mine:
            lines += [_median(mine, kind, style), _worst(mine, kind, style)]
    if not lines:
        return replace(made, alt=f"{made.alt}; single pairs are not stored")
    ends = [p[k] for line in lines for p in line["points"] for k in ("y", "lower", "upper") if k in p]
    y = plot.axis(min(0.0, *ends), max(1.0, *ends), label="share of the metric, each pair")
    said = "; ".join(f"{s['name']} is {bits.number(s['points'][-1]['y'], 2)} at the last size" for s in lines)
    return replace(made, series=lines, y=y, alt=f"How single pairs lie: {said}")


def _median(rows: Sequence[Row], kind: str, style: int) -> Mark:
    points = [
        plot.point(
            row["size"],
            row["median"],
            f"{kind} at {row['size']:,} nodes: half of the pairs above {bits.number(row['median'], 2)},\n"
            f"eight tenths between {bits.number(row['tenth'], 2)} and {bits.number(row['ninetieth'], 2)}",
            lower=row["tenth"],
            upper=row["ninetieth"],
        )
        for row in rows
    ]
    return plot.series(f"{kind}: median and middle 80 % of pairs", points, style)


def _worst(rows: Sequence[Row], kind: str, style: int) -> Mark:
    points = [
        plot.point(
            row["size"],
            row["worst"],
            f"{kind}, the worst pair at {row['size']:,} nodes: {bits.number(row['worst'], 2)}",
        )
        for row in rows
    ]
    return plot.series(
        f"{kind}: the worst pair", points, style, loose=True, corners=3 if style == 0 else 4, fill="hollow"
    )


def knee(rows: Sequence[Row]) -> int | None:
    """The evaluated size farthest above the straight line from the first to the last; None when none is above it."""
    found = sorted((row["size"], row["value"]) for row in rows if row["size"])
    if len(found) < 3:
        return None
    (first, low), (last, high) = found[0], found[-1]
    slope = (high - low) / (math.log(last) - math.log(first))
    above = [(value - low - slope * (math.log(size) - math.log(first)), size) for size, value in found[1:-1]]
    best, size = max(above)
    return size if best > 0.02 * abs(high - low) else None


def shares(nodes: Sequence[Row]) -> list[tuple[float, int]]:
    """Of the first 1, 2, 3, ... nodes by rank: the share of |effect| in error nodes, and how many these are."""
    ranked = sorted((n for n in nodes if n["kind"] != "logit"), key=lambda n: n["rank"])
    whole = accumulate(abs(n["effect"]) for n in ranked)
    errors = accumulate(abs(n["effect"]) if n["kind"] == "error" else 0.0 for n in ranked)
    many = accumulate(int(n["kind"] == "error") for n in ranked)
    return [(e / w if w else 0.0, count) for e, w, count in zip(errors, whole, many, strict=True)]


def error_share(nodes: Sequence[Row], least: int = 1) -> Mark | None:
    """The share of |effect| in error nodes by size, from `least` on; None where the nodes have no errors, as heads."""
    found = shares(nodes)
    if not found or not found[-1][1]:
        return None
    ratio = len(found) ** (1 / POINTS)
    sizes = sorted({min(len(found), max(1, least, round(ratio**i))) for i in range(POINTS + 1)})
    points = [
        plot.point(s, found[s - 1][0], f"of the first {s:,} nodes {found[s - 1][1]:,} are error nodes:\n"
                   f"{bits.percent(found[s - 1][0])} of all |effect| (right axis)")
        for s in sizes
    ]  # fmt: skip
    return plot.series("|effect| in error nodes (right axis)", points, 6, dash=4, bare=True, right=True)


def error_words(nodes: Sequence[Row], size: int) -> str:
    """What the error nodes hold at the size shown, in words."""
    found = shares(nodes)
    if not found or not found[-1][1]:
        return "No node of this circuit is an error node."
    share, many = found[min(size, len(found)) - 1]
    held = bits.percent(share)
    return f"Of the {size:,} nodes shown {many:,} are error nodes, with {held} of all their |effect| (estimated)."
