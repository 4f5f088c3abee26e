"""Metrics and corruptions of patching side by side on this task: whether another choice would have told another story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.panels import ShownCircuit
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, cell, row, table
from data.queries import of_evidence

PLACE = "below"
ORDER = 8
Row = Mapping[str, Any]
SHARE, AGREES = "restored share of ", "rank correlation with "


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    circuit = shown.circuit
    found = source.ask(of_evidence.practices, circuit["task"], circuit["model_name"])
    bits.section("Metrics and corruptions", "what patching whole sites restores of this task, by every choice")
    if not found:
        command = steps.command(source.workspace(), f"practices {circuit['task']}")
        bits.gap("Other metrics and corruptions were not tried on this task with this model.", command)
        return
    left, right = st.columns([1.6, 1], gap="medium")
    with left:
        _shares([r for r in found if r["metric"].startswith(SHARE)])
    with right:
        _agreements([r for r in found if r["metric"].startswith(AGREES)])


def _shares(found: Sequence[Row]) -> None:
    """A row for each place and corruption, a column for each metric."""
    metrics = list(dict.fromkeys(r["metric"] for r in found))
    cells = {(r["site"], r["method"], r["metric"]): r for r in found}
    columns = [Column("Place", "mono line"), Column("Corruption", "line")]
    columns += [
        Column(m.removeprefix(SHARE), "num", "restored share, its interval, and another pair's as control")
        for m in metrics
    ]
    places = dict.fromkeys((r["site"], r["method"]) for r in found if any(r[k] for k in ("value", "lower", "upper")))
    rows = [row([*place, *(_cell(cells.get((*place, m))) for m in metrics)]) for place in places]
    table("practices", columns, rows=rows, options=Options("Restored shares", height=280, csv="practices.csv"))


def _agreements(found: Sequence[Row]) -> None:
    """How alike two choices rank the places."""
    columns = [
        Column("Choice", "line"),
        Column("Beside", "line"),
        Column("Ranks alike", "num", "Spearman's correlation"),
    ]
    rows = [row([r["method"], r["metric"].removeprefix(AGREES), _cell(r)]) for r in found]
    table("practices_agree", columns, rows=rows, options=Options("Agreement of choices", height=280))


def _cell(r: Row | None) -> dict[str, Any]:
    """A value with its interval; grey where it is no more than its control."""
    if r is None:
        return cell("—", tone="quiet", sort=-1e300, raw="")
    beaten = r["control"] is not None and r["lower"] is not None and r["lower"] <= r["control"]
    title = f"control {bits.number(r['control'], 2)}, {r['trials']} trials" + (
        "; no more than its control" if beaten else ""
    )
    return cell(bits.interval(r), sort=r["value"], raw=r["value"], title=title, **({"tone": "grey"} if beaten else {}))
