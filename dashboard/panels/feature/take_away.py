"""Take it away: the feature as one offline HTML file, a picture, its examples as CSV, Neuronpedia's JSON."""

from __future__ import annotations

import streamlit as st

from dashboard import source
from dashboard.export import feature as export
from dashboard.export.card import card
from dashboard.panels import ShownFeature
from dashboard.widgets import bits
from dashboard.widgets.component import mount
from data import runs
from data.store import Workspace
from data.words import Feature

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
        st.download_button("SVG", lambda: _card(workspace, feature), f"{name}.svg", "image/svg+xml", key="take_svg",
                           on_click="ignore", help="Explanation, examples and histogram as a picture.")  # fmt: skip
        st.button("PNG", key="take_png", on_click=_asked, args=(str(feature),))
        st.download_button("Examples, CSV", lambda: export.as_csv(workspace, feature), f"{name}.csv", "text/csv",
                           key="take_csv", on_click="ignore")  # fmt: skip
        st.download_button("Neuronpedia JSON", lambda: export.as_json(workspace, feature), f"{name}.json",
                           "application/json", key="take_json", on_click="ignore",
                           help="Neuronpedia's own fields; controls stand beside them.")  # fmt: skip
    _png(workspace, feature, name)


def _card(workspace: Workspace, feature: Feature) -> str:
    return card(export.gather(workspace, feature), f"lacewing {runs.version()}")


def _png(workspace: Workspace, feature: Feature, name: str) -> None:
    """The same picture as PNG, which the browser draws and saves, when it has been asked for."""
    # Once: whoever comes back to the page has not asked for the file again.
    if st.session_state.pop("take_of", "") == str(feature):
        turn = st.session_state["take_turn"]
        mount("raster", {"svg": _card(workspace, feature), "name": f"{name}.png", "turn": turn}, "take_raster")


def _asked(feature: str) -> None:
    st.session_state["take_of"], st.session_state["take_turn"] = feature, st.session_state.get("take_turn", 0) + 1
