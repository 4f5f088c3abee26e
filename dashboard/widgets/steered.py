"""What steering did: the text without and with it side by side, what differs marked, and the controls beside.

A token that has no counterpart in the other text is underlined, dotted where it is gone and solid where it is new.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steering, steps
from dashboard.steering import Wish
from dashboard.widgets import bits, tokens
from dashboard.widgets.table import Column, Options, cell, effect, row, table

Answer = Mapping[str, Any]
FOREIGN = 0.7
"""Share of new tokens above which two texts have nothing in common that marks could show."""


def texts(answer: Answer) -> None:
    """The text before and after, and whether the change is more than chance."""
    before, after = (_of(answer, kind)[0] for kind in ("before", "after"))
    gone, new = steering.differing(before["tokens"], after["tokens"])
    same = not any(gone) and not any(new)
    apart = sum(new) > FOREIGN * len(new)
    if apart:  # every word underlined would say nothing
        gone, new = [False] * len(gone), [False] * len(new)
    st.html(
        '<div class="lw-pair">'
        + _side("Without", before, gone, "lw-gone")
        + _side("With", after, new, "lw-new")
        + "</div>"
    )
    note = "Underlined: differs from the other text (dotted: gone, solid: new)."
    note = "The texts are the same." if same else "The texts have hardly a token in common." if apart else note
    st.html(f'<div class="lw-legend"><span>{note}</span></div>')


def measures(answer: Answer) -> None:
    """How much the next token changed, beside random features; how unlikely the texts are."""
    before, after = (_of(answer, kind)[0] for kind in ("before", "after"))
    random = _of(answer, "random")
    spread = [one["divergence"] for one in random]
    bits.figures(
        [
            ("Change of the next token", f"{bits.number(after['divergence'])} nats", "KL(without ‖ with)"),
            ("Random features", _range(spread, "nats"), f"same norm and tokens, n = {len(spread)}"),
            ("Surprise of the text", f"{bits.number(after['surprise'], 2)} nats", "a token, to the unchanged model"),
            ("Surprise without", f"{bits.number(before['surprise'], 2)} nats", "of the text without the change"),
            (
                "Surprise, random",
                _range([one["surprise"] for one in random], "nats", 2),
                "of the texts of the controls",
            ),
        ]
    )
    st.html(f'<div class="lw-legend"><span>{bits.escape(steering.judged(answer["rows"]))}</span></div>')


def controls(answer: Answer) -> None:
    """The texts of the controls, folded away."""
    shown = [*_of(answer, "reseeded"), *_of(answer, "random")]
    if not shown:
        return
    before = _of(answer, "before")[0]
    with st.expander(f"Controls: {len(shown)} texts that the change had no part in"):
        for one in shown:
            marks = steering.differing(before["tokens"], one["tokens"])[1]
            st.html(_side(_named(one), one, marks, "lw-new"))


def nexts(key: str, answer: Answer, height: int | None = None) -> None:
    """The most likely next tokens, before and after."""
    columns = [
        Column("Next token", "mono line"), Column("Without", "num"), Column("With", "num"), Column("Change", "num"),
        Column("Random", "num", "lowest to highest with random features of the same norm"),
    ]  # fmt: skip
    found = answer["next"]
    top = max((abs(one["after"] - one["before"]) for one in found), default=0.0)
    rows = [
        row(
            [
                tokens.named(one["token"]), bits.percent(one["before"], 1), bits.percent(one["after"], 1),
                effect(one["after"] - one["before"], top), cell(_range([100 * r for r in one["random"]], "%", 1)),
            ]
        )
        for one in found
    ]  # fmt: skip
    table(key, columns, rows=rows, options=Options("Next tokens", height=height, sort=True))


def reproduce(prompt: str, wanted: Sequence[Wish], answer: Answer, tokens_: int) -> None:
    """The command that comes nearest to this, and in what it differs."""
    words = steering.nearest_command(prompt, wanted, answer["features"], tokens_)
    if not words:
        bits.gap(
            "No verb changes several features by different amounts at once; the address of this page keeps all of it."
        )
        return
    command = steps.command(source.workspace(), shlex.join(words))
    bits.gap(
        "No verb repeats this exactly; the address of this page does. Nearest, stored in the ledger: the newest dictionary "
        "of the site, the token in front of the prompt changed too, greedy.",
    )
    st.html(f'<div class="lw-next"><div><code>{bits.escape(command)}</code></div></div>')


def _of(answer: Answer, kind: str) -> list[dict[str, Any]]:
    return [one for one in answer["rows"] if one["kind"] == kind]


def _named(one: Mapping[str, Any]) -> str:
    if one["kind"] == "reseeded":
        return "Without, another seed"
    return "Random: latent " + ", ".join(map(str, one["latents"]))


def _side(title: str, one: Mapping[str, Any], marks: Sequence[bool], kind: str) -> str:
    pieces = "".join(
        f'<span class="lw-t {kind if mark else ""}">{bits.escape(tokens.readable(token))}</span>'
        for token, mark in zip(one["tokens"], marks, strict=True)
    )
    end = '<span class="lw-detail"> ⟨end of text⟩</span>' if one["ended"] else ""
    note = f"{bits.number(one['divergence'])} nats"
    note = "" if one["kind"] in ("before", "reseeded") else note
    head = f'<div class="lw-group"><b>{bits.escape(title)}</b><span>{note}</span></div>'
    return f'<div>{head}<div class="lw-text">{pieces}{end}</div></div>'


def _range(values: Sequence[float | None], unit: str, digits: int = 3) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "—"
    low, high = bits.number(min(known), digits), bits.number(max(known), digits)
    return f"{low} to {high} {unit}".strip() if low != high else f"{low} {unit}".strip()
