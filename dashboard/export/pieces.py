"""Static HTML of an offline file. Every text is escaped here, and made readable: no bidirectional or control characters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dashboard.widgets import bits, tokens
from dashboard.widgets.bits import escape
from dashboard.widgets.tokens import readable

LONGEST = 600


def figures(entries: Iterable[tuple[str, str, str]]) -> str:
    """A row of figures: (label, value, note)."""
    cells = "".join(
        f'<div class="lw-figure"><span class="lw-label">{escape(label)}</span><span class="lw-value">{escape(value)}</span>'
        f'<span class="lw-note">{escape(note)}</span></div>'
        for label, value, note in entries
    )
    return f'<div class="lw-figures">{cells}</div>'


def gap(text: str) -> str:
    """Why something is missing."""
    return f'<div class="lw-gap"><span>{escape(readable(text, LONGEST))}</span></div>'


def quote(text: str, by: str, *, failed: bool = False) -> str:
    """What somebody said, and who."""
    kind = "lw-explanation lw-failed" if failed else "lw-explanation"
    return (
        f'<div class="{kind}"><p>{escape(readable(text, LONGEST))}</p><small>{escape(readable(by, 160))}</small></div>'
    )


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    numbers: Sequence[int] = (),
    anchors: Mapping[str, str] | None = None,
) -> str:
    """A plain table; `numbers` are the columns set to the right, `anchors` where first cells lead within the file."""
    kinds = [' class="num"' if n in numbers else "" for n in range(len(heads))]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(heads, kinds, strict=True))
    known = anchors or {}
    body = "".join(f"<tr>{_line(row, kinds, known.get(str(row[0]), ''))}</tr>" for row in rows)
    return f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _line(row: Sequence[object], kinds: Sequence[str], anchor: str) -> str:
    cells = [_cell(c) for c in row]
    if anchor:
        cells[0] = f'<a href="#{escape(anchor)}">{cells[0]}</a>'
    return "".join(f"<td{kind}>{c}</td>" for c, kind in zip(cells, kinds, strict=True))


def _cell(value: object) -> str:
    return escape(readable("" if value is None else str(value), LONGEST)) if value != "" else ""


def scores(found: Sequence[Mapping[str, Any]]) -> str:
    """Scores with control, difference and number of windows."""
    if not found:
        return '<p class="quiet">It has not been scored.</p>'
    return table(("Scorer", "Score", "Swapped", "Difference", "n"), [_score(s) for s in found], numbers=(1, 2, 3, 4))


def _score(s: Mapping[str, Any]) -> tuple[object, ...]:
    if s["error"]:
        return s["scorer"], f"failed: {s['error']}", "", "", s["trials"]
    bare = s["control"] is None
    value = bits.interval(s) + (" (no control: it cannot be told from chance)" if bare else "")
    return s["scorer"], value, bits.interval(s, "control"), "" if bare else bits.interval(s, "difference"), s["trials"]


def logits(pairs: Sequence[Sequence[Any]], top: float, kind: str) -> str:
    """Tokens with a bar of their logit; `kind` is lw-up or lw-down."""
    return f'<div class="{kind}">' + "".join(_logit(str(token), value, top) for token, value in pairs) + "</div>"


def _logit(token: str, value: float, top: float) -> str:
    width = f"{100 * abs(value) / top:.0f}%"
    text, said = escape(tokens.named(token)), bits.signed(value, 2)
    return f'<div class="lw-logit"><i style="width:{width}"></i><code>{text}</code><span>{said}</span></div>'
