"""A text that a person types and the address holds, so that links, Back and reload agree with what is shown.

A text of more than `SHORT` characters is kept as a saved view, and the address names that (`NAME_view`). The box's key
holds the text, so that an older one of this session is never shown for a newer address.
"""

from __future__ import annotations

import streamlit as st

from dashboard import source
from data import views
from data.errors import Mistake
from data.words import digest

SHORT = 1200
LONGEST = 8000


def asked(name: str, page: str) -> str:
    """The text `name` of the address. Raises `Mistake` for a saved one that is not this page's."""
    if not (view := st.query_params.get(f"{name}_view")):
        return st.query_params.get(name, "")
    found = views.load(source.workspace(), view)
    if found.page != page or not isinstance(found.state.get(name), str):
        raise Mistake(f"The saved view {view!r} is of the page {found.page}, and holds no text for this box.")
    return found.state[name]


def put(name: str, page: str, text: str) -> None:
    """Writes a text into the address, itself or as a saved view; nothing is left of an empty one."""
    for key in (name, f"{name}_view"):
        st.query_params.pop(key, None)
    if len(text) > SHORT:
        st.query_params[f"{name}_view"] = views.save(source.workspace(), page, {name: text})
    elif text:
        st.query_params[name] = text


def box(name: str, page: str, label: str, *, lines: int = 1, hint: str = "", hidden: bool = False) -> str:
    """Draws the box and returns what it holds; Enter (with Ctrl where it has several lines) takes what was typed."""
    text = asked(name, page)
    key = f"{name}_{digest(text, length=8)}_{lines}"
    options = {
        "key": key, "placeholder": hint, "max_chars": LONGEST, "on_change": _write, "args": (name, page, key),
        "label_visibility": "collapsed" if hidden else "visible",
    }  # fmt: skip
    if lines > 1:
        st.text_area(label, text, height=24 * lines + 18, **options)
    else:
        st.text_input(label, text, **options)
    return text


def _write(name: str, page: str, key: str) -> None:
    put(name, page, st.session_state[key])
