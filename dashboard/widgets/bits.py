"""Small pieces that every page uses: headings, figures, notes, links, and numbers as a person reads them.

Every text that comes from a model, a data set or the store is escaped here before it becomes HTML.
"""

from __future__ import annotations

import contextlib
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitDuplicateElementKey

from data.words import digest

HERE = Path(__file__).parent


def style() -> None:
    """The style sheet of everything drawn with `st.html`."""
    st.html(f"<style>{(HERE / 'page.css').read_text()}</style>")


def escape(text: object) -> str:
    """`text` safe inside HTML and its attributes."""
    return html.escape(str(text), quote=True)


def number(value: float | None, digits: int = 3) -> str:
    """`value` to some significant digits, thousands separated; an em dash when there is none."""
    if value is None or math.isnan(value):
        return "—"
    if isinstance(value, int) or (abs(value) >= 1000 and math.isfinite(value)):
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}" if 0 < abs(value) < 1e-3 else f"{value:.{digits}f}"
    return text.replace("-", "−") if value < 0 else text


def signed(value: float | None, digits: int = 3) -> str:
    """`value` with its sign always written, and a real minus sign."""
    if value is None:
        return "—"
    return f"{'+' if value >= 0 else '−'}{number(abs(value), digits)}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    if value is None:
        return "—"
    text = f"{100 * value:.{digits if abs(value) >= 1e-3 or value == 0 else 3}f} %"
    return text.replace("-", "−")


def interval(row: Mapping[str, Any], name: str = "value", digits: int = 2) -> str:
    """`0.83 [0.82, 0.84]` from the columns NAME, NAME_lower and NAME_upper (lower and upper for `value`)."""
    before = "" if name in ("value", "effect") else f"{name}_"
    lower, upper = row.get(f"{before}lower"), row.get(f"{before}upper")
    value = row.get(name)
    if value is None:
        return "—"
    return number(value, digits) + ("" if lower is None else f" [{number(lower, digits)}, {number(upper, digits)}]")


def duration(seconds: float | None) -> str:
    """Seconds as `42 s`, `3 min 20 s` or `2 h 5 min`."""
    if seconds is None:
        return "—"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def heading(title: str, crumb: str = "", detail: str = "") -> None:
    """The title of a page: what it is, what it shows, one line of detail. All texts are escaped."""
    st.html(
        f'<div class="lw-head"><span class="lw-crumb">{escape(crumb)}</span><h1>{escape(title)}</h1>'
        f'<span class="lw-detail">{escape(detail)}</span></div>'
    )


def section(title: str, note: str = "") -> None:
    """The title of a part of a page, with a quiet note beside it."""
    st.html(f'<div class="lw-section"><h2>{escape(title)}</h2><span>{escape(note)}</span></div>')


def figures(pairs: Iterable[tuple[str, str, str]]) -> None:
    """A row of figures: (label, value, note)."""
    cells = "".join(
        f'<div class="lw-figure"><span class="lw-label">{escape(label)}</span>'
        f'<span class="lw-value">{escape(value)}</span>'
        f'<span class="lw-note">{escape(note)}</span></div>'
        for label, value, note in pairs
    )
    st.html(f'<div class="lw-figures">{cells}</div>')


def gap(what: str, command: str = "") -> None:
    """Says that something is missing, why, and which command makes it; one of this workspace's can be started there."""
    from dashboard.widgets import job  # it draws with what is here

    if command:
        job.way(what, command, _gap)
    else:
        _gap(what)


def _gap(what: str, command: str = "") -> None:
    line = f"<code>{escape(command)}</code>" if command else ""
    st.html(f'<div class="lw-gap"><span>{escape(what)}</span>{line}</div>')


def mistake(sentence: str) -> None:
    """Shows why nothing can be shown here, and a way on."""
    st.html(f'<div class="lw-mistake" role="alert"><strong>This cannot be shown.</strong> {escape(sentence)}</div>')
    with st.container(horizontal=True):
        for name, page in st.session_state.get("pages", {}).items():
            if name in ("overview", "features"):
                st.page_link(page)


def link(page: str, label: str, query: Mapping[str, str], icon: str | None = None) -> None:
    """A link to another page of the dashboard, or to another state of this one, within the same session."""
    target = st.session_state["pages"].get(page)
    if target is None:
        return
    if st.session_state.get("page") == page:  # a page link to the page one is on leaves the address as it was
        with contextlib.suppress(StreamlitDuplicateElementKey):
            key = f"link_{page}_{digest(label, query)}"
            if st.button(escape_markdown(label), key=key, type="tertiary", icon=icon):
                go(page, query)
    else:
        st.page_link(target, label=escape_markdown(label), query_params=dict(query), icon=icon)


def go(page: str, query: Mapping[str, str]) -> None:
    """Moves to another page of the dashboard."""
    st.switch_page(st.session_state["pages"][page], query_params=dict(query))


def escape_markdown(text: str) -> str:
    """`text` that Streamlit's labels, which are Markdown, show as it is."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()#+-.!$:|~<>" else c for c in text)


def chips(pairs: Sequence[tuple[str, str]]) -> str:
    """Tokens beside their values, as HTML."""
    return "".join(f'<span class="lw-chip"><code>{escape(t)}</code> {escape(v)}</span>' for t, v in pairs)
