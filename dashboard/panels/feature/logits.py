"""Logits and lift: the tokens that a feature promotes, and those that it follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard.panels import ShownFeature
from dashboard.widgets import bits, tokens

PLACE = "right"
ORDER = 30


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    statistics = shown.record["statistics"]
    bits.section("Logits", "what its decoder direction promotes and suppresses, through the unembedding")
    up, down = statistics.get("top_logits") or [], statistics.get("bottom_logits") or []
    if up or down:
        top = max((abs(value) for _, value in [*up, *down]), default=1.0) or 1.0
        st.html(f'<div class="lw-logits">{_logits(up, top, "lw-up")}{_logits(down, top, "lw-down")}</div>')
    else:
        bits.gap("No logits are recorded for this feature.")
    bits.section("Lift", "tokens it fires on more often than chance: how many times more, and how often")
    lift = [(tokens.named(t), f"×{bits.number(by, 1)} · {count:,}") for t, by, count in statistics.get("lift") or []]
    if lift:
        st.html(bits.chips(lift))
    else:
        bits.gap("No token stands out.")


def _logits(pairs: Sequence[Sequence[Any]], top: float, kind: str) -> str:
    return f'<div class="{kind}">' + "".join(_logit(token, value, top) for token, value in pairs) + "</div>"


def _logit(token: str, value: float, top: float) -> str:
    width = f"{100 * abs(value) / top:.0f}%"
    text, said = bits.escape(tokens.named(token)), bits.signed(value, 2)
    return f'<div class="lw-logit"><i style="width:{width}"></i><code>{text}</code><span>{said}</span></div>'
