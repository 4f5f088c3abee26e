"""Features that were found, as a list to walk by keyboard: what is said of each with the match marked, and its example.

1. `Line` is one hit. Up and Down walk the list, Enter opens the feature; the name is a link.
2. A line that is picked (click) is written to the address by `pick`, where a page wants that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.widgets import bits, tokens
from dashboard.widgets.component import mount, triggered
from data.words import Feature


@dataclass(frozen=True)
class Text:
    """Some tokens with a feature's activations; `top` is what the colour is a share of."""

    tokens: Sequence[str]
    values: Sequence[float]
    top: float


@dataclass(frozen=True)
class Line:
    """A feature, where it is, and what is said of it; `tags` are (text, tone, title), `grey` tells a score of no worth."""

    feature: Feature
    site: str
    said: str
    author: str = ""
    tags: tuple[tuple[str, str, str], ...] = ()
    why: str = ""
    text: Text | None = None


def hits(
    key: str, lines: Sequence[Line], label: str, *, match: str = "", pick: Callable[[str], None] | None = None
) -> None:
    """Shows `lines`; where `match` stands in what is said, it is marked."""
    data = {"label": label, "alpha": tokens.ALPHA, "lines": [_line(line, match) for line in lines]}
    result = mount(
        "hits", data | {"pick": pick is not None}, key, on_go_change=lambda: None,
        on_pick_change=lambda: pick(triggered(key, "pick")) if pick else None,
    )  # fmt: skip
    if result.go:
        bits.go("feature", {"feature": result.go})


def _line(line: Line, match: str) -> dict[str, Any]:
    shown = {
        "id": str(line.feature), "name": f"{line.feature.dictionary[:6]}/{line.feature.latent}", "site": line.site,
        "said": marked(tokens.readable(line.said, 300), match), "author": tokens.readable(line.author),
        "tags": [list(tag) for tag in line.tags], "why": line.why,
    }  # fmt: skip
    if line.text is not None:
        shown["tokens"] = [tokens.readable(token) for token in line.text.tokens]
        shown["values"] = [round(value, 4) for value in line.text.values]
        shown["top"] = line.text.top
    return shown


def marked(text: str, match: str) -> list[tuple[str, bool]]:
    """`text` in pieces: (piece, whether it is the match), whatever the case of its letters."""
    low, wanted = text.lower(), match.lower()
    if not wanted or len(low) != len(text):  # a letter whose lower form is longer moves all that follows
        return [(text, False)] if text else []
    pieces, begin = [], 0
    while (at := low.find(wanted, begin)) >= 0:
        pieces += [(text[begin:at], False), (text[at : at + len(wanted)], True)]
        begin = at + len(wanted)
    return [piece for piece in [*pieces, (text[begin:], False)] if piece[0]]
