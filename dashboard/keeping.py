"""Keeping what a page has found as a list: a name, one click, and the list is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from dashboard import rater, source
from dashboard.widgets import bits
from data import judgement
from data.errors import Mistake


def offer(key: str, items: Callable[[], Sequence[str]], name: str) -> None:
    """A popover that makes a list of `items()` (`feature DICTIONARY/LATENT`, `circuit ID`), asked for on the click."""
    with st.popover("Open as a list"):
        who = rater.ask(f"{key}_rater")
        title = st.text_input(
            "Name of the list", key=f"{key}_list", max_chars=judgement.LONGEST["list"], disabled=not who
        )
        if st.button("Make the list", key=f"{key}_make", disabled=not who):
            _make(items, who, (title or "").strip() or name)


def _make(items: Callable[[], Sequence[str]], who: str, title: str) -> None:
    try:
        found = items()
        if not found:
            raise Mistake("There is no feature and no circuit in it.")
        made = judgement.create_list(source.workspace(), who, title, found)
    except Mistake as mistake:
        bits.gap(str(mistake))
        return
    bits.go("lists", {"list": made})
