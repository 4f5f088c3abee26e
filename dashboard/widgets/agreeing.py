"""Two raters side by side: figures with intervals, the table of their ratings, and where they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.agreement import Agreement
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, cell, link, row, table
from dashboard.widgets.tokens import readable
from data.judgement import RATINGS
from data.words import Estimate

MOST = 300


def shown(found: Agreement, one: str, other: str) -> None:
    """The figures and the table."""
    if not found.n:
        bits.gap(f"{found.problem} {one} and {other} have rated different ones.")
        return
    bits.figures(
        [
            ("Rated by both", bits.number(found.n), "explanations"),
            ("Weighted kappa", _value(found.weighted), f"{_bracket(found.weighted)} squared weights"),
            ("Cohen's kappa", _value(found.kappa), f"{_bracket(found.kappa)} unweighted"),
            ("Same rating", _share(found.raw), _bracket(found.raw)),
            ("At most one apart", _share(found.near), _bracket(found.near)),
        ]
    )
    if found.problem:
        bits.gap(found.problem)
    st.html(confusion(found.table, one, other))


def _value(estimate: Estimate | None) -> str:
    return "—" if estimate is None else bits.number(estimate.value, 2)


def _share(estimate: Estimate | None) -> str:
    return "—" if estimate is None else bits.percent(estimate.value)


def _bracket(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not defined"
    if math.isnan(estimate.lower):
        return "no interval,"
    return f"[{bits.number(estimate.lower, 2)}, {bits.number(estimate.upper, 2)}]"


def confusion(counts: Sequence[Sequence[int]], one: str, other: str) -> str:
    """How often each pair of ratings was given, as HTML; agreement is on the diagonal, framed."""
    top = max((n for line in counts for n in line), default=1) or 1
    head = "".join(f'<th scope="col">{n}</th>' for n in RATINGS)
    lines = []
    for i, line in enumerate(counts):
        cells = "".join(_cell(n, top, i == j) for j, n in enumerate(line))
        word = bits.escape(list(RATINGS.values())[i])
        lines.append(f'<tr><th scope="row">{i + 1} <span>{word}</span></th>{cells}</tr>')
    said = f"{bits.escape(one)} down, {bits.escape(other)} across; the frame marks equal ratings"
    return (
        f'<table class="lw-confusion" aria-label="Ratings of both"><caption>{said}</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _cell(count: int, top: int, same: bool) -> str:
    alpha = 0.6 * count / top
    return f'<td class="{"same" if same else ""}" style="--a:{alpha:.3f}">{count or ""}</td>'


def disagreements(rows: Sequence[Mapping[str, Any]], one: str, other: str, *, hidden: int) -> None:
    """Where they differ, the farthest apart first, each with a link."""
    differ = [r for r in rows if r["one"] != r["other"]]
    bits.section("Where they differ", f"{len(differ):,} of {len(rows):,}, the farthest apart first")
    if hidden:
        bits.gap(f"{hidden:,} more are shown once you have rated them yourself.")
    if not differ:
        bits.gap("They gave the same rating everywhere." if rows else "There is nothing to compare.")
        return
    columns = [Column("Feature", "mono line"), Column("Explanation"), Column(one, "num"), Column(other, "num"),
               Column("Apart", "num")]  # fmt: skip
    lines = [
        row(
            [
                link(r["feature"], "feature", feature=r["feature"]), cell(readable(r["text"] or "", 300)),
                r["one"], r["other"], abs(r["one"] - r["other"]),
            ]
        )
        for r in differ[:MOST]
    ]  # fmt: skip
    table("disagreements", columns, rows=lines, options=Options("Disagreements", height=420, csv="disagreements.csv"))
