"""Features: every recorded feature of every dictionary, narrowed by facets, ordered, fifty at a time, one of them beside.

1. The address holds the filters, the order, the page and the feature `selected`; a click or a key only writes it.
2. Filters and counts are of all features (`data.facts`), so is the order; the list and the feature beside it are redrawn
   without the filters.
3. Up and Down walk the list, the feature beside it follows, Enter opens its page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from dashboard import address, showcase, source, steps, triaged
from dashboard.features import beside, filters
from dashboard.features.rows import COLUMNS, feature, rows
from dashboard.widgets import bits
from dashboard.widgets.table import Options, Paging, table
from data import queries
from data.errors import Mistake
from data.queries import of_features
from data.queries.of_features import Facets
from data.store import Workspace

TITLE = "Features"
ICON = ":material/view_list:"
GROUP = "Features"
ORDER = 11
PAGE = 50
HEIGHT = "max(24rem, calc(100vh - 19.5rem))"


def examples(workspace: Workspace) -> showcase.Queries:
    """The list with a feature beside it."""
    best = showcase.best(workspace)
    return {"features": {"sort": "-effect", "selected": str(best.feature)} if best else {}}


def render() -> None:
    """Draws the page."""
    with st.container(horizontal=True, vertical_alignment="center"):
        bits.heading("Features", detail="what each direction of a dictionary responds to")
        if of_features.total(source.workspace(), Facets()):
            triaged.offer((*filters.ORDER, "text", "sort"), filters.read())
    if not of_features.total(source.workspace(), Facets()):
        made = source.ask(queries.counts).dictionaries
        bits.gap("No feature has been recorded yet.", steps.command(source.workspace(), "harvest" if made else "demo"))
        return
    facets = filters.read()
    filters.draw(facets)
    _browse(facets)


@st.fragment
def _browse(facets: Facets) -> None:
    """The list and the feature beside it, again for each that is walked to."""
    try:
        asked = replace(facets, sort=st.query_params.get("sort") or Facets.sort)
        total = of_features.total(source.workspace(), asked)
        if total:
            _draw(asked, total)
        else:
            bits.gap(
                "No feature fits these filters. Take one back: the numbers in the menus say what each would leave."
            )
    except Mistake as mistake:
        bits.mistake(str(mistake))


def _draw(facets: Facets, total: int) -> None:
    page = min(_page(), math.ceil(total / PAGE))
    found = _found(facets, page)
    names = [str(feature(f)) for f in found]
    chosen = st.query_params.get("selected") or names[0]
    left, right = st.columns([1.7, 1], gap="medium")
    with left:
        _list(found, facets, page, total=total, chosen=chosen)
    with right:
        beside.render(chosen, facets, listed=chosen in names)


def _page() -> int:
    """The page that the address names, counted from 1."""
    text = st.query_params.get("page", "1")
    if not (text.isdecimal() and int(text) > 0):
        raise Mistake(f"page = {text!r} in the address is not a page; pages count from 1.")
    return int(text)


def _found(facets: Facets, page: int) -> list[queries.Row]:
    return of_features.features(source.workspace(), facets, offset=(page - 1) * PAGE, limit=PAGE)


def _list(found: Sequence[Mapping[str, Any]], facets: Facets, page: int, *, total: int, chosen: str) -> None:
    first = (page - 1) * PAGE + 1
    note = f"{first:,} to {first + len(found) - 1:,} of {total:,} · ↑ ↓ walk, Enter opens, [ ] turn pages"
    options = Options(
        "Features", height=HEIGHT, sort=False, csv=f"features-page-{page}.csv", note=note, selected=chosen, follow=True,
        param="selected",
    )  # fmt: skip
    pages = math.ceil(total / PAGE)
    paging = Paging(page, pages, facets.sort, lambda to, last: _turn(facets, to, last), _reorder)
    table("features_table", COLUMNS, rows=rows(found), options=options, pick=_pick, paging=paging)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        if pages > 1:
            key = f"turn_from_{page}"  # a key of its own, so that what the address says is never an older choice
            st.pagination(
                pages, default=page, key=key, on_change=lambda: _turn(facets, int(st.session_state[key]), False)
            )
        workspace = source.workspace()
        st.download_button(
            f"CSV of all {total:,}", lambda: of_features.everything(workspace, facets), "features.csv", "text/csv",
            on_click="ignore", key="features_all",
            help="All that fit the filters, in this order, with explanation and score.",
        )  # fmt: skip


def _pick(name: str) -> None:
    st.query_params["selected"] = name


def _turn(facets: Facets, page: int, last: bool) -> None:
    """Goes to a page, at its first or last row."""
    found = _found(facets, page)
    selected = str(feature(found[-1 if last else 0])) if found else ""
    address.change({"page": str(page), "selected": selected})


def _reorder(order: str) -> None:
    address.change({"sort": order, "page": "", "selected": ""})
