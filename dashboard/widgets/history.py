"""One step back is one view back, also between pages.

Streamlit writes a move to another page with a query as two entries of the browser's history: the old page with the new
query, which was never a view, and then the new page. Back would stop at the first, and show the old page of something that
it knows nothing of. `mend` makes the second take the first one's place.
"""

from __future__ import annotations

import streamlit as st

from dashboard.widgets.component import mount


def mend() -> None:
    """To be called once on every page; nothing is seen of it."""
    with st.container(key="lw-history"):
        mount("history", {}, "history")
