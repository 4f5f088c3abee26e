"""Test your own text: how strongly the feature fires on it, on the colour scale of its examples.

The address keeps the text (`try`); the engine reads it, and the rest of the page does not wait for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import asking, searching, source
from dashboard.panels import ShownFeature
from dashboard.widgets import bits, box, tokens
from data.errors import Mistake

PLACE = "left"
ORDER = 5
CONTEXT = 24
EXAMPLES = 3


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    bits.section("Test your own text", "Enter reads it; the colours are those of the examples")
    st.fragment(_panel, parallel=True)(shown)


def _panel(shown: ShownFeature) -> None:
    try:
        text = box.box("try", "feature", "Your own text", hint="a text for this feature", hidden=True)
        if text:
            _result(shown, text)
        _copies(shown, text)
    except Mistake as mistake:
        bits.gap(str(mistake))


def _result(shown: ShownFeature, text: str) -> None:
    name = str(shown.feature)
    model = asking.model_of(shown.feature.dictionary)
    answer = asking.answer("activations", model=model, text=text, features=[name])
    values = answer["values"][name]
    st.html(_line(answer["tokens"], values, shown.record["max_activation"]))
    _said(answer, values, shown.record["max_activation"])
    with st.container(horizontal=True, gap="medium"):
        bits.link("search", "All features that fire on it", {"mode": "prompt", "q": text, "picked": name})
        bits.link("steer", "Steer with this text", {"prompt": text, "with": f"{name}:add:2"})


def _line(texts: Sequence[str], values: Sequence[float | None], record: float) -> str:
    numbers = [value or 0.0 for value in values]
    greatest = max(numbers, default=0.0)
    shown = tokens.window(texts, numbers, record or greatest)
    return (
        f'<div class="lw-example"><span>{bits.number(greatest, 2)}</span><span class="lw-text" role="img" '
        f'aria-label="{bits.escape(_spoken(texts, numbers))}">{shown}</span></div>'
    )


def _spoken(texts: Sequence[str], values: Sequence[float]) -> str:
    """The text and its activations in words, for who cannot see the colours."""
    active = [
        f"{tokens.named(text)} {bits.number(value, 2)}" for text, value in zip(texts, values, strict=True) if value
    ]
    return "activations: " + (", ".join(active) or "none")


def _said(answer: Mapping[str, Any], values: Sequence[float | None], record: float) -> None:
    numbers = [value or 0.0 for value in values]
    active = sum(value > 0 for value in numbers)
    if not active:
        notes = [f"It is silent at all {len(numbers)} tokens"]
    else:
        share = f", {bits.percent(max(numbers) / record, 0)} of its record" if record else ""
        notes = [f"Active at {active} of {len(numbers)} tokens, at most {bits.number(max(numbers), 2)}{share}"]
    if missing := sum(value is None for value in values):
        notes.append(f"{missing} special or massive tokens, where a harvest reads nothing, are left out")
    if answer["cut"]:
        notes.append(f"the last {answer['cut']} tokens were not read")
    if answer["precision"] != "fp32":
        notes.append(f"computed in {answer['precision']}")
    st.html(f'<div class="lw-legend"><span>{bits.escape("; ".join(notes))}.</span></div>')


def _copies(shown: ShownFeature, text: str) -> None:
    """Its strongest examples, to be copied into the box and changed there."""
    harvest = shown.record["statistics"].get("harvest")
    found = source.ask(searching.strongest_few, shown.feature, harvest, CONTEXT, EXAMPLES)
    if not found:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.html('<span class="lw-detail">Copy in:</span>', width="content")
        for number, example in enumerate(found, start=1):
            whole = "".join(example.tokens)
            st.button(
                f"example {number}", key=f"try_copy_{number}", type="tertiary", disabled=whole == text,
                help=bits.escape_markdown(tokens.readable(whole, 160)), on_click=box.put, args=("try", "feature", whole),
            )  # fmt: skip
