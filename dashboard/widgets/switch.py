"""A choice of a few, held by the address: a click writes it, and Back and links agree with what is shown.

The address is read first, so that a wrong value is a sentence. The control's key holds the value, so that an older choice
of this session is never shown for a newer address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from data.errors import unknown


def asked(name: str, options: Sequence[str], default: str = "") -> str:
    """What the address says `name` is, one of `options`; the first or `default` when it says nothing."""
    wanted = st.query_params.get(name) or default or options[0]
    if wanted not in options:
        raise unknown(f"{name} here", wanted, options)
    return wanted


def switch(
    name: str, options: Sequence[str], default: str = "", *, label: str = "", said: Callable[[str], str] = str
) -> str:
    """Draws the choice and returns what is chosen. `said` gives the words of an option."""
    default = default or options[0]
    chosen = asked(name, options, default)
    key = f"{name}_at_{chosen}"
    st.segmented_control(
        label or name,
        list(options),
        default=chosen,
        required=True,
        format_func=said,
        key=key,
        label_visibility="collapsed" if not label else "visible",
        on_change=_write,
        args=(name, key, default),
    )
    return chosen


def _write(name: str, key: str, default: str) -> None:
    """Writes the choice to the address; the default stands there as nothing."""
    value = st.session_state[key]
    if value and value != default:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]
