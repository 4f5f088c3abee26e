"""Circuits: everything that was traced, side by side, each with what it is worth.

1. The address says which are listed (task, model, method, metric, reference) and in which order; `left` and `right` are two
   that were picked to be compared. A click on a row picks it, or lets it go.
2. Every number stands beside its interval or its control; below, a form traces a new one as a job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.widgets import bits, form
from dashboard.widgets.switch import asked
from dashboard.widgets.table import Column, Options, cell, link, row, table
from data.queries import of_evidence
from data.queries.of_evidence import SORTS, Facets

TITLE = "Circuits"
ICON = ":material/hub:"
GROUP = "Circuits"
ORDER = 21
ALL = "all"
Row = Mapping[str, Any]
LABELS = {"task": "Task", "model_name": "Model", "method": "Method", "metric": "Metric", "ablation": "Reference"}
BOUND = {"model_name": "model", "ablation": "reference"}
"""What a facet is called in the address, where that is not its own name."""


def render() -> None:
    """Draws the page."""
    bits.heading("Circuits", detail="behaviours traced to nodes and edges, and what each circuit is worth")
    known = source.ask(of_evidence.facets_of)
    if not known["task"]:
        bits.gap("No circuit has been traced yet.", steps.command(source.workspace(), "circuit agreement"))
        _trace()
        return
    rows = source.ask(of_evidence.traced, _facets(known))
    if rows:
        _compare(rows)
        _list(rows)
    else:
        bits.gap("No circuit fits these filters. Take one away.")
    _trace()


def _facets(known: Mapping[str, Sequence[str]]) -> Facets:
    """The facets a person chose, each bound to the address."""
    asked("sort", list(SORTS))  # a bound control would pass a wrong value over
    spots = st.columns([1.2, 1.4, 1.3, 1, 1, 1.2], vertical_alignment="bottom")
    chosen: dict[str, str] = {}
    for spot, (name, label) in zip(spots, LABELS.items(), strict=False):
        key = BOUND.get(name, name)
        with spot:
            options = [ALL, *known[name]]
            if (wanted := st.query_params.get(key)) and wanted not in options:
                options.append(wanted)
            found = st.selectbox(label, options, key=key, bind="query-params", format_func=_plain)
            chosen[name] = "" if found in (None, ALL) else found
    with spots[5]:
        sort = st.selectbox("Order", list(SORTS), key="sort", bind="query-params")
    return Facets(**chosen, sort=sort or "newest")


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _picked() -> list[str]:
    return [st.query_params[end] for end in ("left", "right") if st.query_params.get(end)]


def _pick(circuit: str) -> None:
    """Picks a circuit to compare, or lets it go; a third takes the second's place."""
    picked = _picked()
    picked = [one for one in picked if one != circuit] if circuit in picked else [*picked[:1], circuit]
    for end, one in zip(("left", "right"), [*picked, "", ""], strict=False):
        if one:
            st.query_params[end] = one
        elif end in st.query_params:
            del st.query_params[end]


def _compare(rows: Sequence[Row]) -> None:
    """The two that are picked, and the way to compare them."""
    names = {r["circuit"]: f"{_plain(r['task'])} {r['circuit'][:8]}" for r in rows}
    picked = [names.get(one, one[:8]) for one in _picked()]
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(picked) < 2:
            said = (
                f"Picked: {picked[0]}. Click another row to compare it with."
                if picked
                else "Click two rows to compare them."
            )
            st.html(f'<div class="lw-legend"><span>{bits.escape(said)}</span></div>')
            return
        a, b = _picked()
        st.html(f'<div class="lw-legend"><span>Picked: {bits.escape(" and ".join(picked))}.</span></div>')
        bits.link("compare", "Compare them", {"kind": "circuits", "a": a, "b": b}, icon=":material/compare_arrows:")


COLUMNS = [
    Column("Circuit", "mono line"),
    Column("Task", "line"),
    Column("Model", "line"),
    Column("Method", "line"),
    Column("Metric", "line"),
    Column("Reference", "line", "what is left out takes its value from"),
    Column("Pairs", "num", "that it was found with; as many again are held out"),
    Column("Nodes", "num"),
    Column("Edges", "num"),
    Column("Verified", "num", "the share of its nodes that were patched exactly"),
    Column("Faithfulness", "num", "at its own size (or the evaluated size nearest to it), with its interval"),
    Column("Random", "num", "the same for random circuits of that size"),
    Column("Pearson", "num", "of estimated against exact effects, with its interval"),
    Column("Missed", "num", "no unverified node has a larger effect, at the confidence stated"),
    Column("Log area", "num", "mean faithfulness over the logarithm of the size"),
    Column("CPR", "num", "area of faithfulness over the share of nodes kept (MIB)"),
    Column("CMD", "num", "area of |1 - faithfulness| over the share of nodes kept (MIB); 0 is best"),
    Column("In errors", "num", "the share of its |effect| in error nodes"),
    Column("When", "line"),
]


FOLDED = {"Model": "model_name", "Method": "method", "Metric": "metric", "Reference": "ablation"}
"""Columns that become a note where all rows say the same."""


def _list(rows: Sequence[Row]) -> None:
    picked = _picked()
    folded = {label for label, name in FOLDED.items() if len({r[name] for r in rows}) == 1}
    note = f"{len(rows):,} circuit{'' if len(rows) == 1 else 's'}"
    if folded:
        note += ", all with " + ", ".join(_plain(str(rows[0][FOLDED[label]])) for label in FOLDED if label in folded)
    shown = [i for i, column in enumerate(COLUMNS) if column.label not in folded]
    made = [_row(r, r["circuit"] in picked) for r in rows]
    cells = [{**one, "cells": [one["cells"][i] for i in shown]} for one in made]
    options = Options("Circuits", height=520, csv="circuits.csv", note=note, selected=picked[-1] if picked else None)
    table("circuits", [COLUMNS[i] for i in shown], rows=cells, options=options, pick=_pick)


def _row(r: Row, picked: bool) -> dict[str, Any]:
    name = link(("● " if picked else "") + r["circuit"][:8], "circuit", circuit=r["circuit"])
    verified = r["verified"] / r["nodes"] if r["nodes"] else None
    when = f"{r['started']:%Y-%m-%d %H:%M}" if r["started"] else "run gone"
    cells = [
        name, _plain(r["task"]), r["model_name"], _plain(r["method"]), _plain(r["metric"]), r["ablation"], r["pairs"],
        r["nodes"], r["edges"], share(verified, f"{r['verified']:,} of {r['nodes']:,}"),
        faithfulness(r), control(r, "quoted"), estimate(r, "pearson"), missed(r),
        estimate(r, "log_area", "of random circuits"), estimate(r, "cpr", "of random circuits"),
        estimate(r, "cmd", "of random circuits"), share(r["error_share"], f"{r['errors'] or 0:,} error nodes"),
        cell(when if r["verb"] != "import-circuit" else f"{when}, imported"),
    ]  # fmt: skip
    return row(cells, r["circuit"])


def faithfulness(r: Row) -> dict[str, Any]:
    """The value at the circuit's own size; grey where random circuits do as well."""
    if r["quoted"] is None:
        return cell("not evaluated", tone="quiet", sort=-1e300, raw="")
    beaten = r["quoted_lower"] <= (r["quoted_control"] or 0.0)
    title = f"at {r['quoted_size']:,} nodes" + ("; no more than random circuits" if beaten else "")
    tone = {"tone": "grey"} if beaten else {}
    return cell(bits.interval(r, "quoted"), sort=r["quoted"], raw=r["quoted"], title=title, **tone)


def control(r: Row, name: str) -> dict[str, Any]:
    """What random circuits reach."""
    value = r[f"{name}_control"]
    if value is None:
        return cell("—", tone="quiet", sort=-1e300, raw="")
    return cell(f"{value + 0.0:.2f}".replace("-", "−"), tone="quiet", sort=value, raw=value,
                title=bits.interval(r, f"{name}_control"))  # fmt: skip


def estimate(r: Row, name: str, beside: str = "") -> dict[str, Any]:
    """A value with its interval, its control in the title."""
    if r[name] is None:
        return cell("—", tone="quiet", sort=-1e300, raw="", title="not stored; trace it again to have it")
    known = beside and r[f"{name}_control"] is not None
    title = {"title": f"{bits.number(r[f'{name}_control'], 2)} {beside}"} if known else {}
    return cell(bits.interval(r, name), sort=r[name], raw=r[name], **title)


def missed(r: Row) -> dict[str, Any]:
    """The upper bound on what was not verified, and what that is of the total effect."""
    if r["missed"] is None:
        return cell("—", tone="quiet", sort=1e300, raw="", title="no bound was made")
    of = f", {bits.percent(r['missed'] / abs(r['total_effect']))} of the total effect" if r["total_effect"] else ""
    title = f"at {bits.percent(r['missed_confidence'], 0)} confidence{of}"
    return cell(f"≤ {bits.number(r['missed'], 3)}", sort=r["missed"], raw=r["missed"], title=title)


def share(value: float | None, title: str) -> dict[str, Any]:
    """A share, with the counts in the title."""
    return cell(
        bits.percent(value), sort=-1e300 if value is None else value, raw="" if value is None else value, title=title
    )


def _trace() -> None:
    """The form that traces a new circuit."""
    bits.section("Trace a behaviour", "a job of its own: it goes on when this tab is closed")
    form.form("circuit")
