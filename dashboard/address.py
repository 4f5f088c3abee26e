"""Changes to the address that belong together, as one step of the browser's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st


def change(values: Mapping[str, str | Sequence[str]]) -> None:
    """Writes all of `values` at once: several for a name stand there as often, and what is empty is taken out."""
    kept = {name: st.query_params.get_all(name) for name in st.query_params}
    kept |= {name: [value] if isinstance(value, str) else list(value) for name, value in values.items()}
    st.query_params.from_dict({name: found for name, found in kept.items() if any(found)})
