"""The filters of the Features page, as the address holds them and as a person sees them.

Each facet is a name in the address, repeated for several values: `state=alive&explainer=llm&density=0.001..0.01`. A new
choice begins at the first page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import streamlit as st

from dashboard import address, source
from dashboard.widgets.facets import Facet, Found, Value, facets
from dashboard.widgets.tokens import readable
from data.errors import Mistake
from data.queries import of_features
from data.queries.of_features import ANY, NONE, STATES, Count, Facets, Range

LISTS = ("dictionary", "state", "scorer", "explainer", "author", "circuit", "list")
"""Facets that hold names."""
RANGES = ("density", "activation", "score")
ORDER = ("dictionary", "state", *RANGES, "scorer", "explainer", "author", "circuit", "list", "contested")
LABELS = {
    "dictionary": "Site", "state": "State", "density": "Density", "activation": "Max activation", "score": "Above control",
    "scorer": "Scorer", "explainer": "Explained by", "author": "Labelled by", "circuit": "Circuit", "list": "List",
    "contested": "Contested",
}  # fmt: skip
HELP = {
    "density": "Share of tokens at which it is active. Shift-click widens the range.",
    "activation": "The largest in the harvest. Shift-click widens the range.",
    "score": "The best score minus that of another feature's explanation on the same windows, by the scorers and "
    "explainers chosen. Scores without a control are in no range.",
    "contested": "One scorer says that an explanation fits, another that it does not; both intervals leave out 0.",
}
OTHERS = {"explainer": "not explained", "scorer": "not scored", "author": "no label", "circuit": "in no circuit",
          "list": "in no list"}  # fmt: skip


class Asked(Protocol):
    """An address, as `st.query_params` is one."""

    def get(self, name: str, default: str = "", /) -> str:
        """The last value of a name."""
        ...

    def get_all(self, name: str, /) -> list[str]:
        """All values of a name."""
        ...


def read(address_: Asked | None = None) -> Facets:
    """What the address (or another one) asks for. Raises `Mistake` for what cannot be read."""
    asked: Any = st.query_params if address_ is None else address_
    found: dict[str, Any] = {name: tuple(asked.get_all(name)) for name in LISTS}
    found |= {name: Range.parse(asked.get(name, ""), name) for name in RANGES}
    contested = asked.get("contested", "")
    if contested not in ("", "yes"):
        raise Mistake(
            f"contested = {contested!r} in the address is not a filter; write contested=yes, or leave it out."
        )
    sort = asked.get("sort") or Facets.sort
    return Facets(**found, sort=sort, contested=bool(contested), text=asked.get("text", "").strip()[:80])


def write(name: str, values: Sequence[str]) -> None:
    """Writes a choice into the address; `reset` takes back all of them."""
    gone = ("page", "selected", *((*ORDER, "text") if name == "reset" else ()))
    chosen = {} if name == "reset" else {name: [value.strip() for value in values if value.strip()]}
    address.change(dict.fromkeys(gone, "") | chosen)


def draw(wanted: Facets) -> int:
    """Draws the filters; returns how many features fit."""
    workspace = source.workspace()
    counted = of_features.counted(workspace, wanted)
    total, every = of_features.total(workspace, wanted), of_features.total(workspace, Facets())
    titles = source.ask(of_features.titles)
    shown = [_facet(name, wanted, counted[name], titles) for name in ORDER]
    late = "counted a moment ago: something is being written" if of_features.behind(workspace) else ""
    count = f"{total:,} of {every:,} features" if wanted.active else f"{every:,} features"
    facets("facets", [f for f in shown if f.values or f.chosen], Found(wanted.text, count, late), write)
    return total


def _facet(name: str, wanted: Facets, counts: Sequence[Count], titles: Mapping[str, Mapping[str, str]]) -> Facet:
    chosen = getattr(wanted, name)
    if name == "contested":
        values = [Value("yes", "scorers contradict each other", counts[0].count)]
        return Facet(name, LABELS[name], tuple(values), ("yes",) if chosen else (), help=HELP[name])
    if name in RANGES:
        said = tuple(Value(c.value, span(name, Range.parse(c.value)), c.count) for c in counts)
        own = (
            (Value(str(chosen), span(name, chosen), -1),)
            if chosen and str(chosen) not in {c.value for c in counts}
            else ()
        )
        return Facet(name, LABELS[name], (*said, *own), (str(chosen),) if chosen else (), True, HELP[name])
    return Facet(name, LABELS[name], _values(name, chosen, counts, titles), chosen)


def _values(
    name: str, chosen: Sequence[str], counts: Sequence[Count], titles: Mapping[str, Mapping[str, str]]
) -> tuple[Value, ...]:
    """The values of a facet that holds names; those that would show nothing are left out, unless chosen."""
    label = _label(name, counts, titles)
    found = [Value(c.value, label(c.value), c.count, _title(name, c.value)) for c in counts]
    named = [v for v in found if v.value not in (ANY, NONE)]
    if name not in ("dictionary", "state"):
        named.sort(key=lambda v: -v.count)
    whole = [v for v in found if v.value in (ANY, NONE)] if named else []
    keep = name in ("dictionary", "state")
    return tuple(v for v in (*whole, *named) if v.count or keep or v.value in chosen)


def _label(name: str, counts: Sequence[Count], titles: Mapping[str, Mapping[str, str]]) -> Callable[[str], str]:
    known = titles.get(name, {})
    often = Counter(known.get(c.value) for c in counts)

    def label(value: str) -> str:
        if name in OTHERS and value in (ANY, NONE):
            return "any" if value == ANY else OTHERS[name]
        title = readable(known.get(value, value), 60)
        return f"{title} · {value[:6]}" if value in known and often[known[value]] > 1 else title

    return label


def _title(name: str, value: str) -> str:
    return STATES.get(value, "") if name == "state" else readable(value, 120)


def span(name: str, found: Range) -> str:
    """A range as a person reads it."""

    def end(value: float) -> str:
        if name == "score":
            return f"{value:+.12g}".replace("-", "−") if value else "0"
        return f"{100 * value:.12g} %" if name == "density" else f"{value:.12g}"

    if found.low is None or (found.low == 0 and name != "score"):
        return f"below {end(found.high)}" if found.high is not None else "any"
    return f"{end(found.low)} or more" if found.high is None else f"{end(found.low)} to {end(found.high)}"
