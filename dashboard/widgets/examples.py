"""One example of a feature as a line: a lead, then its tokens, coloured by activation."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard.widgets import bits, tokens


def example(texts: Sequence[str], values: Sequence[float], top: float, lead: str = "") -> str:
    """One example as a line of HTML: its peak activation (or `lead`), then its tokens."""
    before = lead or bits.number(max(values, default=0.0), 2)
    text = tokens.window(texts, values, top)
    return f'<div class="lw-example"><span>{before}</span><span class="lw-text">{text}</span></div>'
