"""Explanations: what was said of a feature, and every score of it beside its control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import evidence, source, steps
from dashboard.panels import ShownFeature
from dashboard.verdicts import Verdict, verdicts
from dashboard.widgets import bits, tokens
from dashboard.widgets.examples import example
from dashboard.widgets.table import Column, Options, cell, effect, row, table
from data import queries
from data.words import Feature

PLACE = "right"
ORDER = 10
SHOWN = 8
"""Windows judged right, and as many wrong, that are shown of each scorer."""


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    wanted, record = shown.feature, shown.record
    bits.section("Explanations", "grey: a score without a control cannot be told from chance")
    found = source.ask(queries.explanations, wanted)
    scores = source.ask(queries.scores, wanted)
    if not found:
        bits.gap("This feature has not been explained yet.", steps.command(source.workspace(), "explain"))
    for number, explanation in enumerate(found):
        mine = [s for s in scores if s["explanation"] == explanation["explanation"]]
        st.html(_explanation(explanation))
        if explanation["text"]:
            _scores(number, mine)
            _judged(wanted, record, mine)


def _explanation(row_: Mapping[str, Any]) -> str:
    made = f"by {row_['explainer']}, run {row_['run']}"
    if row_["error"]:
        said = f"<p>No explanation: {bits.escape(tokens.readable(row_['error'], 300))}</p>"
        return f'<div class="lw-explanation lw-failed">{said}<small>{bits.escape(made)}</small></div>'
    said = f"<p>{bits.escape(tokens.readable(row_['text'], 600))}</p>"
    return f'<div class="lw-explanation">{said}<small>{bits.escape(made)}</small></div>'


def _scores(number: int, scores: Sequence[Mapping[str, Any]]) -> None:
    if not scores:
        bits.gap("This explanation has not been scored yet.", steps.command(source.workspace(), "score"))
        return
    columns = [
        Column("Scorer", "line"),
        Column("Score", "num"),
        Column("Swapped", "num", "another feature's explanation, same windows"),
        Column("Difference", "num", "score minus swapped, paired bootstrap over documents"),
        Column("n", "num", "windows judged"),
    ]
    table(f"scores_{number}", columns, rows=[_score(s) for s in scores], options=Options("Scores", sort=False))
    for score in scores:
        if score["error"]:
            bits.gap(f"{score['scorer']} has no score: {tokens.readable(score['error'], 240)}")


def _score(score: Mapping[str, Any]) -> dict[str, Any]:
    if score["error"]:
        return row([score["scorer"], cell("failed", tone="grey"), "", "", score["trials"]])
    bare = score["control"] is None
    value = cell(bits.interval(score), **({"tone": "grey", "title": "no control was scored"} if bare else {}))
    gained = cell("no control", tone="grey") if bare else effect(score["difference"], digits=2)
    if not bare:
        gained["text"] = bits.interval(score, "difference")
    return row([score["scorer"], value, bits.interval(score, "control"), gained, score["trials"]])


def _judged(wanted: Feature, record: Mapping[str, Any], scores: Sequence[Mapping[str, Any]]) -> None:
    """The windows a scorer judged right and wrong, folded away, and what it remarked."""
    for score in scores:
        details = score["details"] or {}
        found = verdicts(details.get("windows") or [])
        remarks = [*(details.get("remarks") or []), *(details.get("reasons") or [])]
        for remark in remarks:
            bits.gap(f"{score['scorer']}: {tokens.readable(str(remark), 240)}")
        if found:
            right = sum(v.right for v in found)
            title = f"{score['scorer']}: {right} windows judged right, {len(found) - right} wrong"
            with st.expander(bits.escape_markdown(title)):
                _windows(wanted, record, found)


def _windows(wanted: Feature, record: Mapping[str, Any], found: Sequence[Verdict]) -> None:
    wrong, right = ([v for v in found if v.right == kind][:SHOWN] for kind in (False, True))
    judged = [*wrong, *right]
    places = tuple((v.document, v.start, v.length) for v in judged)
    try:
        windows = source.ask(evidence.at, wanted, record["statistics"].get("harvest"), places)
    except (*evidence.UNREADABLE, KeyError) as error:
        bits.gap(f"The windows cannot be read: {error}", steps.command(source.workspace(), "harvest"))
        return
    pairs = zip(judged, windows, strict=True)
    st.html("".join(example(w.tokens, w.values, record["max_activation"], _lead(v)) for v, w in pairs))


def _lead(verdict: Verdict) -> str:
    word = "right" if verdict.right else "wrong"
    said = "active" if verdict.said else "silent"
    return f'<span class="lw-{word}">{word}</span><br>said {said}'
