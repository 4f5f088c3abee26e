"""Choosing two of a list, kept in the address as `a` and `b`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import streamlit as st

from data.errors import unknown


def choose(what: str, names: Mapping[str, str], *, prefix: bool = True) -> tuple[str, str]:
    """The two that the address names, the first two of `names` (id to label) where it does not, with controls to change
    them and to swap them. An id may be cut short if `prefix`. Raises `Mistake` for one that is not there."""
    known, labels = list(names), distinct(names)
    shown = [_named(what, key, known, place, prefix) for place, key in enumerate(("a", "b"))]
    left, swap, right = st.columns([5, 0.9, 5], vertical_alignment="bottom")
    for key, label, value, column in (("a", "Left", shown[0], left), ("b", "Right", shown[1], right)):
        st.session_state[f"pair_{key}"] = value
        with column:
            st.selectbox(
                f"{label} {what}",
                known,
                format_func=lambda name: labels[name],
                key=f"pair_{key}",
                on_change=_writer(*shown),
            )
    with swap:
        st.button("⇄", key="pair_swap", on_click=_swapper(*shown), help="Swap left and right", width="stretch")
    return shown[0], shown[1]


def distinct(names: Mapping[str, str]) -> dict[str, str]:
    """The labels, with the id behind those that several have: Streamlit tells options apart by their labels alone."""
    many = Counter(names.values())
    return {name: label if many[label] == 1 else f"{label} · {name}" for name, label in names.items()}


def _named(what: str, key: str, known: list[str], place: int, prefix: bool) -> str:
    asked = st.query_params.get(key)
    if not asked:
        other = st.query_params.get("b" if key == "a" else "a")
        return next((one for one in known[place:] + known if one != other), known[0])
    found = [one for one in known if one == asked] or [one for one in known if prefix and one.startswith(asked)]
    if len(found) != 1:
        raise unknown(what, asked, known[:20])
    return found[0]


def _writer(a: str, b: str) -> Callable[[], None]:
    def write() -> None:
        _write(st.session_state["pair_a"] or a, st.session_state["pair_b"] or b)

    return write


def _swapper(a: str, b: str) -> Callable[[], None]:
    return lambda: _write(b, a)


def _write(a: str, b: str) -> None:
    """Another pair begins without the filters of the last one."""
    kept = st.query_params.get("kind")
    st.query_params.from_dict({"a": a, "b": b} | ({"kind": kept} if kept else {}))
