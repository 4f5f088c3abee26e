"""One intervention: predicted beside measured beside random nodes, what the model says before and after, and its command.

Tokens and generated text are untrusted: they are escaped, and control characters are made visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import commands, intervening, source
from dashboard.widgets import bits, plot, tokens
from dashboard.widgets.plot import Figure, Mark
from data import runs, views
from data.errors import Mistake

Row = Mapping[str, Any]
TONES = {"verified": "lw-blue", "contradicted": "lw-red", "untested": ""}
NAMES = 12
"""Node names written out."""


def badge(row: Row) -> str:
    """The verdict as HTML: a sign, a word, and what it means."""
    sign, meaning = intervening.VERDICTS[row["verdict"]]
    beyond = "" if row["examples"] < 2 or row["control"] is None else _beside(row)
    if row["verdict"] == "contradicted" and len(row["details"].get("by_site") or {}) > 1:
        beyond += ". The sum counts at every site what the sites hand on to one another; each alone is drawn below it"
    return (
        f'<div class="lw-legend" role="status"><b class="{TONES[row["verdict"]]}">{sign} {row["verdict"]}</b>'
        f"<span>{bits.escape(meaning)}{beyond}</span></div>"
    )


def _beside(row: Row) -> str:
    told = "is told apart from" if row["beside_random"] else "is not told apart from"
    return f"; the change {told} that of random nodes"


def detail(row: Row, key: str = "intervention") -> None:
    """Draws everything that is stored of an intervention."""
    bits.section(intervening.said(row), f"on {intervening.prompts(row)}")
    st.html(badge(row))
    left, right = st.columns([1.4, 1], gap="medium")
    with left:
        plot.draw(f"{key}_forest", forest(row))
    with right:
        if row["examples"] > 1:
            plot.draw(f"{key}_pairs", scatter(row))
        else:
            bits.gap("One prompt has no interval. A task's held-out prompts give one.")
    bits.figures(figures(row))
    st.html(said_before_and_after(row))
    _nodes(row, key)
    _command(row)


def forest(row: Row) -> Figure:
    """The change of the metric: predicted, at each site alone, measured, by random nodes, on the control task."""
    details, one = row["details"], row["examples"] < 2
    lines: list[tuple[str, list[Mark]]] = [("predicted", [_mark(row, "predicted", 0, one, corners=4)])]
    sites = details.get("by_site") or {}
    for site, value in list(sites.items())[:12] if len(sites) > 1 else ():
        text = f"{site} changed alone, predicted: {bits.signed(value)}"
        lines.append((f"of it {site}", [plot.point(value, 0, text, style=2, fill="hollow")]))
    lines.append(("measured", [_mark(row, "measured", 7, one, radius=5.5)]))
    if row["control"] is not None:
        shares = details.get("draws") or []
        draws = [
            plot.point(v, 0, f"one draw of random nodes: {bits.signed(v)}", style=3, fill="hollow") for v in shares
        ]
        lines.append(("random nodes", [*draws, _mark(row, "control", 3, False, corners=3)]))
    if row["control_task"]:
        lines.append((f"on {row['control_task']}", [_mark(row, "control_change", 5, False, corners=5)]))
    said = "; ".join(f"{name}: {marks[-1]['text']}" for name, marks in lines)
    return plot.forest_figure(
        lines, label=f"change of the {row['metric']}", alt=f"Change of the {row['metric']}. {said}"
    )


def _mark(row: Row, name: str, style: int, one: bool, **more: Any) -> Mark:
    words = {
        "predicted": "predicted",
        "measured": "measured",
        "control": "by random nodes",
        "control_change": "on the control task",
    }
    value, lower, upper = row[name], row[f"{name}_lower"], row[f"{name}_upper"]
    between = "" if one or lower is None else f" [{bits.signed(lower)}, {bits.signed(upper)}]"
    ends = {} if one else {"left": lower, "right": upper}
    more = {"radius": 4.6} | more
    return plot.point(value, 0, f"{words[name]} {bits.signed(value)}{between}", style=style, **ends, **more)


def scatter(row: Row) -> Figure:
    """The change of each prompt, measured against predicted."""
    pairs = list(zip(row["details"]["predicted"], row["details"]["measured"], strict=True))
    points = [
        plot.point(p, m, f"prompt {i}: predicted {bits.signed(p)}, measured {bits.signed(m)}", radius=2.8)
        for i, (p, m) in enumerate(pairs, 1)
    ]
    ends = [v for pair in pairs for v in pair]
    return Figure(
        f"Measured against predicted change of {len(pairs)} prompts, with the diagonal on which they agree",
        plot.axis(min(ends), max(ends), label="predicted, each prompt"),
        plot.axis(min(ends), max(ends), label="measured"),
        points=points,
        diagonal=True,
        height=230,
    )


def figures(row: Row) -> list[tuple[str, str, str]]:
    """The metric and the accuracy before and after, on the task and on the control task."""
    one = row["examples"] < 2
    facts = []
    for when in ("before", "after"):
        between = "one prompt" if one else bits.interval(row, when).partition(" ")[2]
        facts.append((f"{row['metric'].capitalize()} {when}", bits.number(row[when], 2), between))
    preferred = f"{bits.percent(row['accuracy_before'], 0)} → {bits.percent(row['accuracy_after'], 0)}"
    facts.append(("Answer preferred", preferred, "of the prompts, before and after"))
    if row["control_task"]:
        change = bits.interval(row, "control_change")
        facts.append((f"Control: {row['control_task']}", bits.signed(row["control_change"]), f"change {change}"))
        both = f"{bits.percent(row['control_accuracy_before'], 0)} → {bits.percent(row['control_accuracy_after'], 0)}"
        facts.append(("Its answer preferred", both, "nodes changed at all its positions"))
    return facts


def said_before_and_after(row: Row) -> str:
    """The most likely next tokens and the text written, before and after, as HTML side by side."""
    details = row["details"]
    top, texts = details.get("top") or {}, details.get("texts") or {}
    sides = "".join(
        f'<div><div class="lw-group"><b>{when.capitalize()}</b><span>most likely next tokens</span></div>'
        f"{_top(top.get(when) or [])}{_text(row, texts.get(when))}</div>"
        for when in ("before", "after")
    )
    return f'<div class="lw-logits">{sides}</div>'


def _top(best: Sequence[Row]) -> str:
    return bits.chips([(tokens.named(t["token"]), bits.percent(t["probability"])) for t in best[:8]])


def _text(row: Row, text: str | None) -> str:
    if text is None:
        return ""
    prompt, written = (bits.escape(tokens.readable(part, most)) for part, most in ((row["example"], 240), (text, 600)))
    return f'<div class="lw-text lw-line"><span class="lw-note">{prompt}</span>{written}</div>'


def _nodes(row: Row, key: str) -> None:
    names = list(row["nodes"])
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    st.html(
        f'<div class="lw-legend"><span>Nodes: <code>{bits.escape(", ".join(names[:NAMES]))}</code>{more}</span></div>'
    )
    if row["circuit"]:
        st.button("Pin these nodes in the graph", key=f"{key}_pin", on_click=pin, args=(row["circuit"], names))
    if at := st.session_state.pop("pinned_view", None):
        bits.go("circuit", at)


def pin(circuit: str, names: Sequence[str]) -> None:
    """Saves a view of the circuit with these nodes pinned, and goes there when the page is drawn next."""
    try:
        view = views.save(source.workspace(), "circuit", {"circuit": circuit, "pinned": list(names), "groups": []})
    except Mistake as mistake:
        st.session_state["pin_said"] = str(mistake)
        return
    st.session_state["pinned_view"] = {"circuit": circuit, "view": view}


def _command(row: Row) -> None:
    words = intervening.reproduce(row)
    if words is None:
        bits.gap("The record of the run that made this is gone, so its command is not known.")
        return
    other = (
        ""
        if row["version"] == runs.version()
        else f" It was made by lacewing {row['version']}; this is {runs.version()}."
    )
    note = "An equal run that is done is not repeated; in a copy of the workspace it makes the same row."
    bits.section("Reproduce", note + other)
    st.code(commands.shown("intervene", words, source.workspace().folder), language="shell", wrap_lines=True)
