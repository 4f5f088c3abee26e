"""Pages of a long table: which one the address names, and turning to another."""

from __future__ import annotations

import math

import streamlit as st

from data.errors import Mistake, unknown

SIZE = 50
"""Rows of a page."""


def asked(name: str = "page") -> int:
    """The page that the address names, counted from 1; raises `Mistake` when it is no number."""
    text = st.query_params.get(name, "1")
    if not (text.isdigit() and int(text) > 0):
        raise Mistake(f"{name} = {text!r} in the address is not a page; pages count from 1.")
    return int(text)


def first(name: str = "page") -> None:
    """Goes back to the first page: what another filter or order begins with."""
    if name in st.query_params:
        del st.query_params[name]


def span(total: int, page: int, shown: int) -> str:
    """`51 to 100 of 1,782`."""
    low = (page - 1) * SIZE + 1
    return f"{low:,} to {low + shown - 1:,} of {total:,}" if shown else f"none of {total:,}"


def turn(total: int, page: int, name: str = "page") -> None:
    """The control that turns pages, where there are several."""
    if total <= SIZE:
        return
    key = f"{name}_from_{page}"  # a key of its own, so that what the address says is never an older choice

    def turned() -> None:
        st.query_params[name] = str(st.session_state[key])

    st.pagination(math.ceil(total / SIZE), default=page, key=key, on_change=turned)


def choice(label: str, name: str, options: list[str], *, default: str = "", width: int = 220, about: str = "") -> str:
    """A choice kept in the address as `name`, by default the first; raises `Mistake` for one that is not there."""
    usual = default or options[0]
    asked_for = st.query_params.get(name, usual)
    if asked_for not in options:
        raise unknown(label.lower(), asked_for, options)
    st.session_state[f"choice_{name}"] = asked_for

    def chosen() -> None:
        first()
        value = st.session_state[f"choice_{name}"]
        if value == usual:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = value

    st.selectbox(label, options, key=f"choice_{name}", on_change=chosen, width=width, help=about or None)
    return asked_for
