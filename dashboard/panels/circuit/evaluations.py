"""One number for each curve (areas, each beside its control), and how the pairs lie at the size shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.panels import ShownCircuit
from dashboard.widgets import bits, plot
from dashboard.widgets.table import Column, Options, cell, row, table
from data import queries
from data.queries import of_evidence

PLACE = "below"
ORDER = 4
Row = Mapping[str, Any]
NAMES = ("log area", "CPR", "CMD")
MEANING = {
    "log area": "mean of the curve over the logarithm of the size: every doubling counts alike",
    "CPR": "area of faithfulness over the share of all nodes, linear (MIB): 1 is perfect, more is possible, more is better",
    "CMD": "area of |1 - faithfulness| over the share of all nodes (MIB): 0 is best",
}
BINS = 16


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    left, right = st.columns([1.45, 1], gap="medium")
    with left:
        _areas(shown.circuit)
    with right:
        _pairs(shown)


def _areas(circuit: Row) -> None:
    found = source.ask(of_evidence.areas, circuit["circuit"])
    bits.section("Areas", "under each curve, beside random circuits of the same sizes; 95 % intervals over pairs")
    if not found:
        command = steps.command(source.workspace(), f"circuit {circuit['task']}")
        bits.gap("No areas are stored: the circuit was imported, or traced by an older lacewing.", command)
        return
    cells = {(r["kind"], r["mask"], r["ablation"], r["name"]): r for r in found}
    places = dict.fromkeys(
        (r["kind"], r["mask"], r["ablation"]) for r in sorted(found, key=lambda r: _order(circuit, r))
    )
    columns = [Column("Curve", "line"), Column("Of", "line"), Column("Reference", "line")]
    for name in NAMES:
        columns += [Column(name, "num", MEANING[name]), Column("Random", "num", f"{name} of random circuits")]
    rows = [
        row([*place, *(piece for name in NAMES for piece in _estimates(cells.get((*place, name))))]) for place in places
    ]
    table("areas", columns, rows=rows, options=Options("Areas", height=330, csv=f"areas-{circuit['circuit']}.csv"))


def _order(circuit: Row, area: Row) -> tuple[bool, bool, bool, str]:
    """Faithfulness of nodes at the circuit's own reference first."""
    own = area["ablation"] == circuit["ablation"]
    return area["kind"] != "faithfulness", area["mask"] != "nodes", not own, area["ablation"]


def _estimates(area: Row | None) -> list[dict[str, Any]]:
    if area is None:
        return [cell("—", tone="quiet", sort=-1e300, raw=""), cell("—", tone="quiet", sort=-1e300, raw="")]
    control = bits.interval(area, "control")
    return [
        cell(bits.interval(area), sort=area["value"], raw=area["value"]),
        cell(bits.number(area["control"], 2), sort=area["control"], raw=area["control"], title=control, tone="quiet"),
    ]


def _pairs(shown: ShownCircuit) -> None:
    """The share that each held-out pair keeps, at the evaluated size nearest to that shown."""
    circuit = shown.circuit
    reference = st.query_params.get("reference", circuit["ablation"])
    mine = [
        r
        for r in source.ask(queries.evaluations, circuit["circuit"])
        if (r["mask"], r["kind"]) == ("nodes", "faithfulness")
        and r["ablation"] == (circuit["ablation"] if reference == "all" else reference)
    ]
    point = min(mine, key=lambda r: (abs(r["size"] - shown.size), r["size"]), default=None)
    if point is None:
        bits.section("Single pairs")
        command = steps.command(source.workspace(), f"circuit {circuit['task']}")
        bits.gap("There is no evaluation of these nodes, so nothing is known of single pairs.", command)
        return
    bits.section("Single pairs", f"what each keeps with {point['size']:,} nodes, {point['ablation']} values outside")
    found = source.ask(
        of_evidence.shares, circuit["circuit"], mask="nodes", ablation=point["ablation"], kind="faithfulness",
        size=point["size"],
    )  # fmt: skip
    _spread(circuit, point, found)


def _spread(circuit: Row, point: Row, found: Sequence[float]) -> None:
    facts = [("Mean", bits.number(point["value"], 2), bits.interval(point).partition(" ")[2])]
    if point["worst"] is not None:
        middle = f"{bits.number(point['tenth'], 2)} to {bits.number(point['ninetieth'], 2)}"
        facts += [("Median", bits.number(point["median"], 2), f"middle 80 %: {middle}")]
        facts += [("Worst pair", bits.number(point["worst"], 2), f"farthest from 1 of {point['examples']:,} pairs")]
    bits.figures(facts)
    if len(found) < 2:
        command = steps.command(source.workspace(), f"circuit {circuit['task']}")
        bits.gap("The shares of single pairs are not stored for this point.", command)
        return
    edges, counts = binned(found)
    lines = [
        {"x": point["value"], "label": "mean", "text": f"mean of {len(found)} pairs: {bits.number(point['value'], 2)}"}
    ]
    plot.histogram("pairs", edges, counts, label="share of the metric kept by a pair", lines=lines)


def binned(values: Sequence[float], bins: int = BINS) -> tuple[list[float], list[int]]:
    """Edges of equal width over the values, 0 and 1 among what they span, and how many values are in each."""
    low, high = min(0.0, *values), max(1.0, *values)
    width = (high - low) / bins
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    return [low + i * width for i in range(bins + 1)], counts
