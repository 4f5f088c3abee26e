"""Features: every recorded feature of every dictionary, narrowed by facets, ordered by the store, fifty at a time.

Each filter is written to the address, so a list can be sent to a colleague. Ordering and paging happen in SQL: what is
sorted is all features, not the page shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, cell, effect, link, row, table
from dashboard.widgets.tokens import readable
from data import queries
from data.errors import Mistake, unknown
from data.words import Feature

TITLE = "Features"
ICON = ":material/view_list:"
ORDER = 2
PAGE = 50
POWERS = ("any", "0.00001", "0.0001", "0.001", "0.01", "0.1")
ALL = "all sites"


def render() -> None:
    """Draws the page."""
    dictionaries = source.ask(queries.dictionaries)
    bits.heading("Features", detail="what each direction of a dictionary responds to")
    if not any(d["features"] for d in dictionaries):
        bits.gap(
            "No feature has been recorded yet.",
            steps.command(source.workspace(), "harvest" if dictionaries else "demo"),
        )
        return
    facets = _facets(dictionaries)
    page = _page()
    found = source.ask(queries.features, facets, offset=(page - 1) * PAGE, limit=PAGE)
    if not found and page > 1:
        page = 1
        found = source.ask(queries.features, facets, offset=0, limit=PAGE)
    total = found[0]["total"] if found else 0
    _list(found, total, page)
    if total > PAGE:
        key = f"turn_from_{page}"  # a key of its own, so that what the address says is never an older choice
        st.pagination(math.ceil(total / PAGE), default=page, key=key, on_change=_turn, args=(key,))


def _page() -> int:
    """The page that the address names, counted from 1."""
    text = st.query_params.get("page", "1")
    if not (text.isdigit() and int(text) > 0):
        raise Mistake(f"page = {text!r} in the address is not a page; pages count from 1.")
    return int(text)


def _turn(key: str) -> None:
    st.query_params["page"] = str(st.session_state[key])


def _first() -> None:
    """Another filter or order begins at the first page."""
    if "page" in st.query_params:
        del st.query_params["page"]


def _facets(dictionaries: Sequence[Mapping[str, Any]]) -> queries.Facets:
    """The facets a person chose, each bound to the address."""
    a, b, c, d, e = st.columns([1.5, 1, 1.5, 1.1, 1.9], vertical_alignment="bottom")
    with a:
        dictionary = _dictionary(dictionaries)
    with b:
        state = st.selectbox(
            "State", list(queries.STATES), key="state", bind="query-params", on_change=_first, help=_STATE_HELP
        )
    with c:
        low, high = st.columns(2)
        least = low.selectbox("Density from", POWERS, key="from", bind="query-params", on_change=_first)
        most = high.selectbox("to", POWERS, key="to", bind="query-params", on_change=_first)
    with d:
        activation = st.number_input(
            "Max activation from", 0.0, step=1.0, key="activation", bind="query-params", on_change=_first
        )
    with e:
        text = st.text_input("Explanation contains", key="text", bind="query-params", on_change=_first, max_chars=80)
    return queries.Facets(
        dictionary,
        state or "any",
        (_power(least, 0.0), _power(most, 1.0)),
        activation or 0.0,
        **_switches(),
        text=(text or "").strip(),
    )


def _dictionary(dictionaries: Sequence[Mapping[str, Any]]) -> str | None:
    """The dictionary that the address names; a bound widget would put its label there, not the digest that links use."""
    names = {d["dictionary"]: f"{d['site']} · {d['dictionary'][:6]}" for d in dictionaries if d["features"]}
    asked = st.query_params.get("dictionary", ALL)
    if asked != ALL and asked not in names:
        raise unknown("dictionary with recorded features", asked, names)
    st.session_state["site"] = asked
    st.selectbox("Site", [ALL, *names], format_func=lambda n: names.get(n) or str(n), key="site", on_change=_write)
    return None if asked == ALL else asked


def _write() -> None:
    _first()
    chosen = st.session_state["site"]
    if chosen != ALL:
        st.query_params["dictionary"] = chosen
    elif "dictionary" in st.query_params:
        del st.query_params["dictionary"]


_STATE_HELP = f"dead: never active in the harvest; dense: active at more than {100 * queries.DENSE:.0f} % of tokens"


def _switches() -> dict[str, Any]:
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        sort = st.selectbox(
            "Order",
            list(queries.SORTS),
            key="sort",
            bind="query-params",
            on_change=_first,
            width=210,
            label_visibility="collapsed",
        )
        explained = st.toggle("explained", key="explained", bind="query-params", on_change=_first)
        circuit = st.toggle("in a circuit", key="circuit_only", bind="query-params", on_change=_first)
    return {"sort": sort or "max activation", "explained": explained, "circuit": circuit}


def _power(text: str | None, otherwise: float) -> float:
    return otherwise if text in (None, "any") else float(text)


def _list(found: Sequence[Mapping[str, Any]], total: int, page: int) -> None:
    if not found:
        bits.gap("No feature fits these filters. Loosen one: the fewest are lost to density and text.")
        return
    first = (page - 1) * PAGE + 1
    top = max((f["max_activation"] for f in found), default=0.0)
    columns = [
        Column("Feature", "mono line"),
        Column("Site", "line"),
        Column("Density", "num", "share of tokens at which it is active"),
        Column("Max activation", "num"),
        Column("Circuits", "num"),
        Column("Effect", "num", "largest |effect| of its nodes"),
        Column("Explanation"),
        Column("Score", "num line", "the scorer's value, such as an AUROC"),
        Column("Above control", "num", "score minus that of another feature's explanation on the same windows"),
    ]
    note = f"{first:,} to {first + len(found) - 1:,} of {total:,}"
    options = Options("Features", sort=False, csv="features.csv", note=note)
    table("features_table", columns, rows=[_feature(f, top) for f in found], options=options)


def _feature(f: Mapping[str, Any], top: float) -> dict[str, Any]:
    name = Feature(f["dictionary"], f["latent"])
    scored = f["score"] is not None
    bare = scored and f["control"] is None
    score = f"{bits.number(f['score'], 2)} {f['scorer']}" if scored else "—"
    return row(
        [
            link(f"{f['dictionary'][:6]}/{f['latent']}", "feature", feature=str(name)),
            f["site"],
            bits.percent(f["density"], 2),
            cell(bits.number(f["max_activation"], 2), bar=f["max_activation"] / top if top else 0.0),
            f["circuits"] or "",
            cell(bits.number(f["effect"], 3) if f["effect"] is not None else ""),
            cell(readable(f["text"], 140), title=readable(f["text"], 600))
            if f["text"]
            else cell("not explained", tone="quiet"),
            cell(score, tone="grey", title="no control: this cannot be told from chance") if bare else cell(score),
            effect(f["difference"], digits=2) if f["difference"] is not None else cell("", sort=-9),
        ]
    )
