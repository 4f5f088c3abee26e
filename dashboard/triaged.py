"""What a triage is about, as its address says it, and which feature comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

import streamlit as st

from dashboard import address, keeping, source
from dashboard.features import filters
from dashboard.widgets import bits
from data import judgement
from data.errors import unknown
from data.queries import of_features, of_judgement
from data.queries.of_features import Facets

Row = Mapping[str, Any]
EVERYTHING = "all explained features"
ORDERS = {"uncertain": "most uncertain first", "given": "in the order of the list", "strongest": "most active first"}
KEPT = ("list", "from", "order")
"""What of the address stays when another feature is shown."""


@dataclass(frozen=True)
class Elsewhere:
    """The filters of another page's address, which stand in this one as one value."""

    values: Mapping[str, list[str]]

    def get(self, name: str, default: str = "") -> str:
        """The last value of a name."""
        return self.values.get(name, [default])[-1]

    def get_all(self, name: str) -> list[str]:
        """All values of a name."""
        return list(self.values.get(name, []))


def offer(names: Sequence[str], facets: Facets) -> None:
    """On the Features page: a link that judges what these filters leave, and a way to keep it as a list."""
    pairs = [(name, value) for name in names for value in st.query_params.get_all(name)]
    bits.link("triage", "Judge these one by one", {"from": urlencode(pairs)} if pairs else {})
    keeping.offer("features", lambda: [f"feature {name}" for name in _left(facets, judgement.MOST - 1)], "Features")


def _left(facets: Facets, most: int) -> list[str]:
    """The features that filters leave, in their order, at most `most`."""
    found: list[str] = []
    while len(found) < most:
        rows = of_features.features(source.workspace(), facets, offset=len(found), limit=of_features.MOST)
        found += [f"{row['dictionary']}/{row['latent']}" for row in rows]
        if len(rows) < of_features.MOST:
            break
    return found[:most]


def _filtered(text: str) -> tuple[str, tuple[str, ...]]:
    """The features that the filters of an address leave, at most as many as a queue holds, and what the filters are."""
    facets = filters.read(Elsewhere(parse_qs(text)))
    found, total = _left(facets, of_judgement.LONGEST_QUEUE), of_features.total(source.workspace(), facets)
    cut = f", the first {len(found):,} of them" if total > len(found) else ""
    said = ", ".join(f"{name} {value}" for name, values in parse_qs(text).items() for value in values)
    return f"{total:,} features by {said}{cut}", tuple(found)


@dataclass(frozen=True)
class Chosen:
    """What is judged; `features` None means all that are explained."""

    name: str
    features: tuple[str, ...] | None
    order: str
    list: str = ""


def chosen() -> Chosen:
    """What the address names. Raises `Mistake` for a list or an order that does not exist."""
    order = st.query_params.get("order", "uncertain")
    if order not in ORDERS:
        raise unknown("order of a triage", order, ORDERS)
    if name := st.query_params.get("list"):
        row = source.ask(of_judgement.list_of, name)
        items = source.ask(of_judgement.members, name)
        features = tuple(item.removeprefix("feature ") for item in items if item.startswith("feature "))
        return Chosen(f"the list {row['name']}", features, order, name)
    if text := st.query_params.get("from"):
        return Chosen(*_filtered(text), order)
    return Chosen(EVERYTHING, None, order)


def choose(shown: Chosen) -> None:
    """Draws the choice of list and order, which write the address."""
    known = {"": shown.name if st.query_params.get("from") else EVERYTHING} | {
        row["list"]: row["name"] for row in source.ask(of_judgement.lists) if row["features"]
    }
    st.session_state["triage_list"], st.session_state["triage_order"] = shown.list, shown.order
    st.selectbox("Judge", list(known), format_func=lambda n: known.get(n) or str(n), key="triage_list", width=260,
                 on_change=_write, args=("list",), label_visibility="collapsed")  # fmt: skip
    st.selectbox("Order", list(ORDERS), format_func=lambda n: ORDERS[n], key="triage_order", width=220,
                 on_change=_write, args=("order",), label_visibility="collapsed")  # fmt: skip


def _write(name: str) -> None:
    value = st.session_state[f"triage_{name}"]
    gone = {"feature": "", **({"from": ""} if name == "list" else {})}
    address.change(gone | {name: "" if value == "uncertain" else value})


def place(found: Sequence[Row]) -> int | None:
    """Where in the queue the feature of the address is, or else the first not judged; None when all are."""
    asked = st.query_params.get("feature")
    items = [row["item"] for row in found]
    if asked:
        if asked not in items:
            raise unknown("feature in this queue", asked, items[:8], "Open it on the Feature page instead.")
        return items.index(asked)
    return next((n for n, row in enumerate(found) if not row["handled"]), None)


def after(found: Sequence[Row], here: int) -> str | None:
    """The next feature that is not judged yet, round the end; None when this was the last."""
    order = [*range(here + 1, len(found)), *range(here)]
    return next((found[n]["item"] for n in order if not found[n]["handled"]), None)


def things(found: Sequence[Row]) -> list[str]:
    """What an undo in this queue may be about: its features and their explanations, no list and nothing elsewhere."""
    return [name for row in found for name in (row["item"], row["explanation"]) if name]


def about(standing: Row, found: Sequence[Row]) -> str | None:
    """The feature of the queue that a statement is about."""
    names = (standing["subject"], standing["item"].removeprefix("feature "))
    return next((row["item"] for row in found if row["item"] in names or row["explanation"] in names), None)


def show(item: str | None) -> None:
    """Writes the feature to the address."""
    if item:
        st.query_params["feature"] = item
    else:
        st.query_params.pop("feature", None)


def query(**more: str) -> dict[str, str]:
    """The address of this triage with something else in it."""
    return {name: st.query_params[name] for name in KEPT if name in st.query_params} | more


def pair(names: Sequence[str], who: str) -> tuple[str, str]:
    """The two raters that are compared: oneself and the busiest other, unless others are chosen."""
    mine = names.index(who) if who in names else 0
    first, second = st.columns(2)
    one = first.selectbox("One rater", names, index=mine, key="one") or names[0]
    others = [name for name in names if name != one]
    return one, second.selectbox("The other", others, key="other") or others[0]
