"""Interventions: a ledger of everything that was changed in running models, each row with the command that makes it again.

1. The address says which rows are listed (`of` a circuit, task, way, attention, verdict, node), their order, the page, and
   the one shown in full (`intervention`).
2. Filters, order and paging happen in SQL. New ones are made from a circuit's graph, or with `lacewing intervene`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.widgets import bits, intervention
from dashboard.widgets.ledger import table_of
from dashboard.widgets.switch import asked
from data import queries
from data.errors import Mistake
from data.queries import of_interventions
from data.queries.of_interventions import SORTS, VERDICTS, Facets

TITLE = "Interventions"
ICON = ":material/experiment:"
GROUP = "Circuits"
ORDER = 23
PAGE = 50
ALL = "all"
BOUND = {"circuit": "of"}
"""What a facet is called in the address: a bound name cannot be given to the page that a link leads to (Streamlit)."""
Row = Mapping[str, Any]


def render() -> None:
    """Draws the page."""
    bits.heading("Interventions", detail="what was predicted, what was measured, and what random nodes do")
    counts = source.ask(of_interventions.verdicts)
    if not counts:
        _nothing()
        return
    bits.figures(_counted(counts))
    facets = _facets(source.ask(of_interventions.choices))
    page = _page()
    rows = source.ask(of_interventions.interventions, facets, offset=(page - 1) * PAGE, limit=PAGE)
    if not rows:
        bits.gap("No intervention fits these filters. Take one away.")
        return
    _list(rows, page)
    intervention.detail(source.ask(of_interventions.intervention, _asked(rows)))


def _nothing() -> None:
    circuits = source.ask(queries.circuits)
    if not circuits:
        bits.gap(
            "Nothing was changed yet, and there is no circuit.", steps.command(source.workspace(), "circuit agreement")
        )
        return
    newest = circuits[0]["circuit"]
    why = "Nothing was changed yet. Choose nodes in a circuit's graph, or change its most important ones."
    bits.gap(why, steps.command(source.workspace(), f"intervene --circuit {newest}"))
    bits.link("circuit", f"Circuit {newest[:8]}", {"circuit": newest})


def _counted(counts: Mapping[str, int]) -> list[tuple[str, str, str]]:
    notes = {
        "verified": "prediction within the measured interval",
        "contradicted": "outside it",
        "untested": "one prompt alone",
    }
    return [("Interventions", f"{sum(counts.values()):,}", "one row each")] + [
        (name.capitalize(), f"{counts.get(name, 0):,}", note) for name, note in notes.items()
    ]


def _facets(known: Mapping[str, Sequence[str]]) -> Facets:
    """The facets a person chose, each bound to the address."""
    asked("sort", list(SORTS))  # a bound control would pass a wrong value over
    asked("verdict", list(VERDICTS))
    spots = st.columns([1.3, 1.2, 0.9, 0.9, 1.1, 1.6, 1.5], vertical_alignment="bottom")
    chosen: dict[str, str] = {}
    for spot, (name, label) in zip(spots, _LABELS.items(), strict=False):
        key = BOUND.get(name, name)
        with spot:
            options = [ALL, *known[name]]
            if (wanted := st.query_params.get(key)) and wanted not in options:
                options.append(wanted)
            found = st.selectbox(label, options, key=key, bind="query-params", on_change=_first, format_func=_short)
            chosen[name] = "" if found in (None, ALL) else found
    with spots[4]:
        verdict = st.selectbox("Verdict", list(VERDICTS), key="verdict", bind="query-params", on_change=_first)
    with spots[5]:
        node = st.text_input("Node", key="has", bind="query-params", on_change=_first, placeholder="latent:7@4")
    with spots[6]:
        sort = st.selectbox("Order", list(SORTS), key="sort", bind="query-params", on_change=_first)
    return Facets(**chosen, verdict=verdict or "any", node=node, sort=sort or "newest")


_LABELS = {"circuit": "Circuit", "task": "Task", "does": "Done", "attention": "Attention"}


def _short(name: str) -> str:
    return name[:8] if len(name) == 16 and set(name) <= set("0123456789abcdef") else name


def _first() -> None:
    """Another filter or order begins at the first page, with its own first row in full."""
    for name in ("page", "intervention"):
        if name in st.query_params:
            del st.query_params[name]


def _page() -> int:
    text = st.query_params.get("page", "1")
    if not (text.isdigit() and int(text) > 0):
        raise Mistake(f"page = {text!r} in the address is not a page; pages count from 1.")
    return int(text)


def _list(rows: Sequence[Row], page: int) -> None:
    total, first = rows[0]["total"], (page - 1) * PAGE + 1
    note = f"{first:,} to {first + len(rows) - 1:,} of {total:,}"
    table_of("interventions", rows, selected=_asked(rows), pick=_show, height=380, note=note)
    if total > PAGE:
        key = f"turn_from_{page}"  # a key of its own, so that what the address says is never an older choice
        st.pagination(math.ceil(total / PAGE), default=page, key=key, on_change=_turn, args=(key,))


def _turn(key: str) -> None:
    _first()
    st.query_params["page"] = str(st.session_state[key])


def _show(identity: str) -> None:
    st.query_params["intervention"] = identity


def _asked(rows: Sequence[Row]) -> str:
    return st.query_params.get("intervention") or rows[0]["intervention"]
