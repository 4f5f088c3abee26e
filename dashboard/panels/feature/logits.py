"""Logits and lift: the tokens that a feature promotes, and those that it follows.

1. The harvest has stored the ends of the list of logits, among tokens that it has seen.
2. With `logits=1` in the address the engine makes the logits of the whole vocabulary, as a histogram and its ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard import asking, look
from dashboard.panels import ShownFeature
from dashboard.widgets import bits, plot, tokens
from data.errors import Mistake

PLACE = "right"
ORDER = 30


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    statistics = shown.record["statistics"]
    bits.section("Logits", "what its decoder direction promotes and suppresses, through the unembedding")
    _ends(statistics.get("top_logits") or [], statistics.get("bottom_logits") or [])
    whole = look.is_on("logits")
    label = "Hide all logits" if whole else "Logits of the whole vocabulary"
    st.button(label, key="all_logits", type="tertiary", on_click=look.turn, args=("logits",))
    if whole:
        st.fragment(_whole, parallel=True)(shown)
    bits.section("Lift", "tokens it fires on more often than chance: how many times more, and how often")
    lift = [(tokens.named(t), f"×{bits.number(by, 1)} · {count:,}") for t, by, count in statistics.get("lift") or []]
    if lift:
        st.html(bits.chips(lift))
    else:
        bits.gap("No token stands out.")


def _ends(up: Sequence[Sequence[Any]], down: Sequence[Sequence[Any]]) -> None:
    """The tokens that are promoted and suppressed most, side by side."""
    if not up and not down:
        bits.gap("No logits are recorded for this feature.")
        return
    top = max((abs(value) for _, value in [*up, *down]), default=1.0) or 1.0
    st.html(f'<div class="lw-logits">{_logits(up, top, "lw-up")}{_logits(down, top, "lw-down")}</div>')


def _whole(shown: ShownFeature) -> None:
    """The logits of all tokens, by the engine; the page does not wait for them."""
    try:
        model = asking.model_of(shown.feature.dictionary)
        found = asking.answer("logits", model=model, feature=str(shown.feature))
    except Mistake as mistake:
        bits.gap(str(mistake))
        return
    far = (found["top"][0][1] - found["mean"]) / found["deviation"] if found["deviation"] else 0.0
    plot.histogram("logits_histogram", found["edges"], found["counts"], label="logit")
    said = f"{found['tokens']:,} tokens · mean {bits.signed(found['mean'], 2)} · standard deviation "
    said += f"{bits.number(found['deviation'], 2)} · the most promoted is {bits.number(far, 1)} of them above the mean"
    st.html(f'<div class="lw-legend">{bits.escape(said)}</div>')
    _ends(found["top"], found["bottom"])


def _logits(pairs: Sequence[Sequence[Any]], top: float, kind: str) -> str:
    return f'<div class="{kind}">' + "".join(_logit(token, value, top) for token, value in pairs) + "</div>"


def _logit(token: str, value: float, top: float) -> str:
    width = f"{100 * abs(value) / top:.0f}%"
    text, said = bits.escape(tokens.named(token)), bits.signed(value, 2)
    return f'<div class="lw-logit"><i style="width:{width}"></i><code>{text}</code><span>{said}</span></div>'
