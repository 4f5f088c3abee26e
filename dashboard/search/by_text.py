"""By text: explanations and labels that contain what was typed, the match marked."""

from __future__ import annotations

import math

import streamlit as st

from dashboard import source, steps
from dashboard.search import found
from dashboard.searching import Hit
from dashboard.widgets import bits, turning
from data.queries import of_search

PAGE = 15


def show(text: str, dictionaries: tuple[str, ...]) -> None:
    """Draws a page of hits."""
    page = turning.asked()
    rows = source.ask(of_search.by_text, text, dictionaries, offset=(page - 1) * PAGE, limit=PAGE)
    if not rows and page > 1:
        page, rows = 1, source.ask(of_search.by_text, text, dictionaries, offset=0, limit=PAGE)
    if not rows:
        _none(text)
        return
    total = rows[0]["total"]
    first = (page - 1) * PAGE + 1
    bits.section(f"{total:,} feature{'s' if total > 1 else ''}", f"{first} to {first + len(rows) - 1} shown")
    found.draw("hits_text", [Hit(row) for row in rows], "Features by text", match=text)
    if total > PAGE:
        key = f"search_page_from_{page}"
        st.pagination(math.ceil(total / PAGE), default=page, key=key, on_change=_turn, args=(key,))


def _turn(key: str) -> None:
    st.query_params["page"] = str(st.session_state[key])


def _none(text: str) -> None:
    if (named := source.ask(of_search.feature_named, text)) is not None:
        bits.link("feature", f"Feature {named}", {"feature": str(named)})
        return
    if source.ask(of_search.said):
        bits.gap(f"No explanation or label contains {text!r}. Try fewer letters, or search by meaning.")
    else:
        bits.gap("Nothing has been said of any feature yet.", steps.command(source.workspace(), "explain"))
