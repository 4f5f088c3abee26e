"""The pages, served by `lacewing dashboard`.

1. Every file of `dashboard/pages/` is a page: TITLE, ICON, GROUP (of the menu), ORDER, `render()`. To add one, add a file.
2. The address says what is shown (`feature?feature=DIGEST/LATENT`), so reload, Back and a link sent elsewhere agree.
3. Where other machines can reach the pages, `login.admitted` asks for the password first.
4. A `Mistake` (no workspace, a newer schema, an id that does not exist) is shown as its sentence, with a way on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import ModuleType

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard import login
from dashboard.widgets import bits, history
from data import parts
from data.errors import Mistake

PAGES = "dashboard.pages"


def main(start: str | None = None) -> None:
    """Draws the page that the address names; `start` is the one at the root (the first by ORDER if not given)."""
    st.set_page_config(page_title="Lacewing", page_icon="🪲", layout="wide", initial_sidebar_state="collapsed")
    bits.style()
    modules = parts.in_order(PAGES)
    start = start or next(iter(modules))
    pages = {
        name: st.Page(
            functools.partial(show, module.render),
            title=module.TITLE,
            icon=module.ICON,
            url_path=name,
            default=name == start,
        )
        for name, module in modules.items()
    }
    st.session_state["pages"] = pages
    history.mend()
    let_in = login.admitted()
    page = st.navigation(_groups(modules, pages), position="top" if let_in else "hidden")
    st.session_state["page"] = next((name for name, one in pages.items() if one == page), start)
    if let_in:
        page.run()


def _groups(modules: Mapping[str, ModuleType], pages: Mapping[str, StreamlitPage]) -> dict[str, list[StreamlitPage]]:
    """The pages under their groups' names, groups in the order of their first page."""
    groups: dict[str, list[StreamlitPage]] = {}
    for name, module in modules.items():
        groups.setdefault(module.GROUP, []).append(pages[name])
    return groups


def show(render: Callable[[], None]) -> None:
    """Draws one page, or the sentence that says why it cannot be drawn."""
    try:
        render()
    except Mistake as mistake:
        bits.mistake(str(mistake))
