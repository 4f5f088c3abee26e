"""Tokens as text a person can read, highlighted by activation.

1. `readable` makes one token's text safe to look at: newlines become signs, control and bidirectional characters their
   code points, and a very long token is cut (a token of 100 kB must not freeze a page).
2. `window` is one example as HTML: the background of a token has opacity 0.6 log10(1 + 9 r), r its activation as a
   share of the feature's greatest; the peak is underlined; hovering a token shows its value.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from dashboard.widgets.bits import escape, number

LONGEST = 48
"""Characters of one token that are shown."""
ALPHA = 0.6
"""Highest opacity: text on it keeps a contrast of 4.5:1 in both themes (measured in the notes of this page)."""
_SIGNS = {"\n": "↵", "\r": "␍", "\t": "⇥", "": "∅"}


def readable(token: str, longest: int = LONGEST) -> str:
    """A token as one line of visible text, cut after `longest` characters. Not escaped yet."""
    if token in _SIGNS:
        return _SIGNS[token]
    cut = token[:longest]
    shown = cut if cut.isprintable() else "".join(_visible(character) for character in cut)
    return shown + ("…" if len(token) > longest else "")


def broken(token: str) -> str:
    """`readable`, with lines that really break where the token says so."""
    return (
        "↵\n".join(readable(part) if part else "" for part in token[:LONGEST].split("\n"))
        if "\n" in token
        else readable(token)
    )


def named(token: str) -> str:
    """A token on its own, in a list: spaces alone become visible too."""
    return "␣" * len(token) if token and not token.strip(" ") else readable(token)


def _visible(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    return f"⟨{ord(character):X}⟩" if hidden else character


def opacity(value: float, top: float) -> float:
    """The opacity of a token's background: 0 for no activation, `ALPHA` for `top`."""
    share = min(max(value / top, 0.0), 1.0) if top > 0 else 0.0
    return ALPHA * math.log10(1 + 9 * share)


def window(texts: Sequence[str], values: Sequence[float], top: float) -> str:
    """One example as HTML: `texts` and their activations, coloured against `top`, the feature's greatest."""
    peak = max(range(len(values)), key=lambda i: values[i], default=-1)
    return "".join(_token(t, v, top, i == peak and v > 0) for i, (t, v) in enumerate(zip(texts, values, strict=True)))


def _token(text: str, value: float, top: float, peak: bool) -> str:
    shown = escape(readable(text))
    if value <= 0:
        return f'<span class="lw-t">{shown}</span>'
    kind = "lw-t lw-on lw-peak" if peak else "lw-t lw-on"
    return f'<span class="{kind}" data-v="{number(value, 2)}" style="--a:{opacity(value, top):.3f}">{shown}</span>'


def prompt(texts: Sequence[str]) -> str:
    """A prompt's tokens as HTML, a thin mark between them."""
    return "".join(f'<span class="lw-t lw-cut">{escape(readable(text))}</span>' for text in texts)
