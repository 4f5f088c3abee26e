"""What a click on the Circuit page writes to the address."""

from __future__ import annotations

import streamlit as st


def pick(name: str) -> None:
    """Writes the node chosen to the address; an empty name clears it."""
    if name:
        st.query_params["node"] = name
    elif "node" in st.query_params:
        del st.query_params["node"]


def choose(size: int) -> None:
    """Writes the number of nodes shown to the address."""
    st.query_params["size"] = str(size)
