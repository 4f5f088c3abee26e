"""Take it away: the feature as one offline HTML file, its examples as CSV, Neuronpedia's JSON."""

from __future__ import annotations

import streamlit as st

from dashboard import source
from dashboard.export import feature as export
from dashboard.panels import ShownFeature
from dashboard.widgets import bits

PLACE = "below"
ORDER = 90


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    workspace, feature = source.workspace(), shown.feature
    name = f"feature-{feature.dictionary[:8]}-{feature.latent}"
    bits.section("Take it away", "files that need nothing else; made when you ask for them")
    with st.container(horizontal=True, gap="small"):
        st.download_button("HTML, offline", lambda: export.html(workspace, feature), f"{name}.html", "text/html",
                           key="take_html", on_click="ignore", help="Opens from disk and asks for nothing.")  # fmt: skip
        st.download_button("Examples, CSV", lambda: export.as_csv(workspace, feature), f"{name}.csv", "text/csv",
                           key="take_csv", on_click="ignore")  # fmt: skip
        st.download_button("Neuronpedia JSON", lambda: export.as_json(workspace, feature), f"{name}.json",
                           "application/json", key="take_json", on_click="ignore",
                           help="Neuronpedia's own fields; controls stand beside them.")  # fmt: skip
