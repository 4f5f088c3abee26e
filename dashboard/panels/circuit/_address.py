"""What the address of the Circuit page says, and what a click writes to it.

1. `node` is what is selected, `size` how many of the most important nodes and `edges` how many of the strongest edges are
   shown.
2. `kinds`, `sites`, `sign`, `verified` and `density` hide nodes. `choice` reads them all, and says what would be right.
3. `view` names what is pinned and grouped, which is too long for an address (`data.views`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard import source
from dashboard.widgets.graph import Marks
from dashboard.widgets.tokens import readable
from data import views
from data.errors import Mistake, unknown
from data.queries.of_graph import Graph

SIZE = 150
"""Nodes shown at first: about what can be told apart on the canvas."""
SIGNS = ("positive", "negative")
PROBLEM = "circuit_problem"
"""Where a callback leaves the sentence that says why it could not do what was asked."""


@dataclass(frozen=True)
class Choice:
    """Which nodes and edges are shown. Empty `kinds`, `sites` or `sign` hide nothing; 0 `edges` are all of them."""

    size: int = SIZE
    edges: int = 0
    kinds: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    sign: str = ""
    verified: bool = False
    density: float = 1.0
    """Latents that are active at a larger share of tokens are hidden."""

    @property
    def filters(self) -> int:
        """How many filters hide something."""
        unset = Choice(size=self.size, edges=self.edges)
        return sum(getattr(self, name) != getattr(unset, name) for name in self.__dataclass_fields__)


def choice(graph: Graph) -> Choice:
    """What the address asks for of this circuit; raises `Mistake` with what would be right."""
    return Choice(
        size=min(_count("size", graph.most, SIZE), graph.most),
        edges=_count("edges", len(graph.edges), 0),
        kinds=_among("kinds", "kind of node in this circuit", graph.kinds),
        sites=_among("sites", "site in this circuit", graph.sites),
        sign=next(iter(_among("sign", "sign", SIGNS)), ""),
        verified=st.query_params.get("verified") == "true",
        density=_share("density"),
    )


def _count(name: str, most: int, default: int) -> int:
    text = st.query_params.get(name, "")
    if text and not (text.isdigit() and int(text) > 0):
        what = "nodes" if name == "size" else "edges"
        range_ = f"1 to {most}, such as {min(SIZE, most)}" if name == "size" else "1 or more, such as 1000"
        raise Mistake(f"{name} = {text!r} in the address is not a number of {what}; it should be {range_}.")
    return int(text or default)


def _among(name: str, what: str, known: Sequence[str]) -> tuple[str, ...]:
    asked = tuple(part for part in st.query_params.get(name, "").split(",") if part)
    for part in asked:
        if part not in known:
            raise unknown(what, part, known)
    return asked


def _share(name: str) -> float:
    text = st.query_params.get(name, "1")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise Mistake(f"{name} = {text!r} in the address is no share of tokens; it should be above 0 and at most 1.")
    return value


def write(name: str, value: str) -> None:
    """Writes a part of the address; an empty value takes it out."""
    if value:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]


def pick(name: str) -> None:
    """Writes the node or group chosen to the address; an empty name clears it."""
    write("node", name)


def choose(size: int) -> None:
    """Writes the number of nodes shown to the address."""
    write("size", str(size))


def marks(circuit: str, known: Mapping[str, int]) -> Marks:
    """What the view in the address says is pinned and grouped; nodes that the circuit has not are left out."""
    asked = st.query_params.get("view", "")
    if not asked:
        return Marks()
    found = source.ask(views.load, asked)
    if found.page != "circuit" or found.state.get("circuit") != circuit:
        whose = f"the circuit {found.state.get('circuit')!r}" if found.page == "circuit" else f"the page {found.page!r}"
        raise Mistake(
            f"View {asked!r} is of {whose}, not of the circuit {circuit!r}. Take view={asked} out of the address."
        )
    return read(found.state, known)


def circuit_of_view() -> str | None:
    """The circuit of the view in the address: a link that says only `view=ID` is enough."""
    asked = st.query_params.get("view", "")
    return source.ask(views.load, asked).state.get("circuit") if asked else None


def read(state: Mapping[str, Any], known: Mapping[str, int]) -> Marks:
    """Marks out of a state, whoever wrote it: known nodes only, each in one group at most; names are cut."""
    taken: set[str] = set()
    groups = []
    for number, group in enumerate(state.get("groups") or [], start=1):
        nodes = [n for n in dict.fromkeys(group.get("nodes") or []) if n in known and n not in taken]
        taken.update(nodes)
        if nodes:
            identity = str(group.get("id") or f"g{number}")
            groups.append({"id": identity, "name": readable(str(group.get("name") or identity), 80), "nodes": nodes})
    pinned = [n for n in dict.fromkeys(state.get("pinned") or []) if n in known]
    return Marks(pinned, groups, [str(d) for d in state.get("dismissed") or []])


def keep(circuit: str, marked: Marks) -> bool:
    """Saves what is marked and names it in the address; says on the page why it could not, and returns whether it could."""
    plain = marked.plain()
    if "@" not in st.query_params.get("node", "@") and st.query_params["node"] not in [
        g["id"] for g in plain["groups"]
    ]:
        write("node", "")  # the group that was selected is no more
    try:
        write(
            "view",
            views.save(source.workspace(), "circuit", {"circuit": circuit} | plain) if any(plain.values()) else "",
        )
    except Mistake as mistake:
        st.session_state[PROBLEM] = f"Pins and groups are not saved; they are kept in this tab only. {mistake}"
        return False
    return True
