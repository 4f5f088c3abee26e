"""How a feature is looked at: what of the address stays when one goes on to the next.

`hide=1` keeps back what has been said of features until one has looked; `skip=1` passes over dead features; `context`,
`breaks` and `more` say how examples are shown.
"""

from __future__ import annotations

import streamlit as st

from data.words import Feature

LASTING = ("hide", "skip", "context", "breaks", "more")


def hidden() -> bool:
    """Whether explanations, labels and rules are kept back: no text of them may be on the page."""
    return is_on("hide")


def is_on(name: str) -> bool:
    """Whether the switch `name` of the address is on."""
    return st.query_params.get(name) in ("1", "true")


def turn(name: str) -> None:
    """Turns the switch `name` of the address."""
    put(name, "" if is_on(name) else "1")


def put(name: str, value: str) -> None:
    """Writes `value` into the address; nothing is left of `name` when it is empty."""
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


def query(feature: Feature) -> dict[str, str]:
    """The address of another feature, looked at in the same way."""
    kept = {name: st.query_params[name] for name in LASTING if name in st.query_params}
    return {"feature": str(feature), **kept}
