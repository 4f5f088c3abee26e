"""One planted feature: its ladder of labels under every scorer, and what the explainers said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source
from dashboard.widgets import bits
from dashboard.widgets.pair import distinct
from dashboard.widgets.table import Column, Options, cell, row, table
from dashboard.widgets.tokens import readable
from data.errors import unknown
from data.queries import of_ground

Row = Mapping[str, Any]


def render(run: Row) -> None:
    """Draws the feature that the address names (`latent=N`), or the choice of one."""
    found = source.ask(of_ground.planted, run["run"])
    if not found:
        return
    bits.section("One planted feature", "its labels from right to worthless, and what was said of it")
    wanted = _chosen(found)
    rows = source.ask(of_ground.ladder, run["run"], wanted["latent"])
    _labels(rows)
    _explained(source.ask(of_ground.explained, run["run"], wanted["latent"]))


def _chosen(found: Sequence[Row]) -> Row:
    known = {str(f["latent"]): f for f in found}
    labels = distinct({n: f"{f['kind'].replace('_', ' ')}: {readable(f['text'] or '', 140)}" for n, f in known.items()})
    asked = st.query_params.get("latent", next(iter(known)))
    if asked not in known:
        raise unknown("planted feature", asked, known)
    st.session_state["trust_latent"] = asked
    st.selectbox(
        "Feature",
        list(known),
        format_func=lambda n: labels[n],
        key="trust_latent",
        on_change=_write,
    )
    return known[asked]


def _write() -> None:
    st.query_params["latent"] = st.session_state["trust_latent"]


def _labels(rows: Sequence[Row]) -> None:
    methods = list(dict.fromkeys(r["method"] for r in rows))
    methods.sort(key=lambda m: m != "executed")
    values = {(r["rung"], r["method"]): r for r in rows}
    rungs = {r["rung"]: r for r in rows}
    exact = {m: values["exact", m]["value"] for m in methods if ("exact", m) in values}
    columns = [Column("Rung", "line"), Column("Label"), Column("True F1", "num"), Column("Extent", "num")]
    columns += [Column(m, "num") for m in methods]
    lines = []
    for rung, r in sorted(rungs.items(), key=lambda item: (item[0] != "exact", -item[1]["f1"])):
        text = (
            cell(readable(r["text"], 140), title=readable(r["text"], 800))
            if r["text"]
            else cell("says nothing", tone="quiet")
        )
        scores = [_score(values.get((rung, m)), exact.get(m) if rung != "exact" else None) for m in methods]
        lines.append(row([rung, text, bits.number(r["f1"], 2), bits.number(r["extent"], 2), *scores]))
    note = "by true F1; a score that is not below the exact label's is marked"
    table("trust_labels", columns, rows=lines, options=Options("Labels of the feature", note=note, csv="labels.csv"))


def _score(found: Row | None, exact: float | None) -> dict[str, Any]:
    if found is None or found["value"] is None:
        why = readable((found or {}).get("error") or "not scored", 300)
        return cell("failed" if found else "—", tone="grey", title=why, sort=-1)
    text = bits.number(found["value"], 2)
    wrong = exact is not None and found["value"] >= exact and found["f1"] < 0.9
    return cell(f"{text} ≥ exact" if wrong else text, sort=found["value"], raw=found["value"],
                **({"tone": "negative"} if wrong else {}))  # fmt: skip


def _explained(rows: Sequence[Row]) -> None:
    if not rows:
        bits.gap("No explainer was asked about it.")
        return
    columns = [
        Column("Explainer", "line"),
        Column("Said"),
        Column("F1", "num", "of what it says, run on text it has not seen; a dash: it is prose"),
        Column("For another", "num", "its F1 for another feature"),
        Column("Recognised", "line"),
    ]
    lines = [
        row(
            [
                cell(r["method"]),
                cell(readable(r["text"], 160), title=readable(r["text"], 800))
                if r["text"]
                else cell(readable(r["error"] or "no text", 160), tone="grey"),
                bits.number(r["f1"], 2),
                cell(bits.number(r["control"], 2), tone="quiet"),
                {True: "yes", False: "no", None: "—"}[r["recognised"]],
            ]
        )
        for r in rows
    ]
    table("trust_said", columns, rows=lines, options=Options("Explanations of the feature", sort=False))
