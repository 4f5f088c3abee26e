"""Two circuits: what each is, where their effects are, which nodes and edges differ.

1. A stored `lacewing diff` of the two tells which differences are more than chance, at a false-discovery rate. It may have
   been run the other way round; its rows are turned to the order of the address.
2. Without one there is only what the two circuits plainly hold: overlap and effects side by side, marked *not tested*.
3. The address holds everything: `a`, `b`, `by` (how nodes correspond), `cell` (SITE@PLACE), `find`, `of`, `order`, `page`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from dashboard import source, steps
from dashboard.compare import _overlap, _tested
from dashboard.compare._setting import Setting, overview, scatter, way
from dashboard.widgets import bits, pair
from dashboard.widgets.table import Cell, Column, Options, cell, link, row, table
from dashboard.widgets.tokens import readable
from data import queries
from data.queries import of_comparison

NAME = "circuits"
ORDER = 1

Row = Mapping[str, Any]


def render() -> None:
    """Draws the comparison of the two circuits that the address names."""
    found = {c["circuit"]: c for c in source.ask(queries.circuits)}
    if len(found) < 2:
        have = "one circuit; a second one is needed" if found else "no circuit"
        bits.gap(f"This workspace has {have} to compare.", steps.command(source.workspace(), "circuit agreement"))
        return
    a, b = pair.choose("circuit", {name: _label(c) for name, c in found.items()})
    if a == b:
        bits.gap(f"Both sides are circuit {a}; choose two.")
        return
    left, right = found[a], found[b]
    run = source.ask(of_comparison.tested, a, b)
    if run and run["summary"] and "tested" in run["summary"]:
        setting, part = Setting(left, right, by=_tested.BY[run["summary"]["places"]], run=run), _tested
    else:
        setting, part = Setting(left, right, by=_by(left, right)), _overlap
    words = part.head(setting)
    one, other = st.columns([1.25, 1], gap="medium")
    with one:
        _summary(left, right)
    with other:
        bits.section("Node by node", "on the diagonal both circuits agree")
        scatter(setting)
    bits.section("Where", "effects by site and place, and what is found there")
    overview(setting, words)
    part.nodes(setting)


def _label(c: Row) -> str:
    return f"{readable(c['task'], 60)} · {c['circuit'][:8]} · {c['nodes']} nodes · {c['method'].replace('_', ' ')}"


def _by(left: Row, right: Row) -> str:
    """How nodes correspond: as the address says, else as a test would have it."""
    asked = st.query_params.get("by")
    return asked or way(*((c["prompt"] or {}).get("roles") or [] for c in (left, right)))


def _summary(left: Row, right: Row) -> None:
    bits.section(
        "Side by side", "faithfulness: share of the metric that a circuit's own nodes recover on held-out pairs"
    )
    sides = (left, right)
    rows = [row([cell(name, tone="quiet"), *map(said, sides)]) for name, said in SAYS.items()]
    for name, says in ALIKE.items():
        rows.append(row([cell(name, tone="quiet"), *_apart(*map(says, sides))]))
    rows.append(row([cell("dictionaries", tone="quiet"), *_dictionaries(left, right)]))
    columns = [Column("What", "line"), Column("Left"), Column("Right")]
    table("compare_summary", columns, rows=rows, options=Options("Both circuits", sort=False, csv="circuits.csv"))


def _faithful(c: Row) -> str:
    if c["quoted"] is None:
        return "not evaluated"
    return f"{bits.interval(c, 'quoted')} at {c['quoted_size']} nodes"


SAYS: Mapping[str, Callable[[Row], Cell]] = {
    "circuit": lambda c: link(c["circuit"], "circuit", circuit=c["circuit"]),
    "task": lambda c: readable(c["task"], 80),
    "pairs": lambda c: bits.number(c["pairs"]),
    "nodes, verified": lambda c: f"{bits.number(c['nodes'])}, {bits.number(c['verified'])}",
    "edges": lambda c: bits.number(c["edges"]),
    "faithfulness": _faithful,
    "of random nodes": lambda c: bits.number(c["quoted_control"], 2),
    "total effect": lambda c: bits.number((c["summary"] or {}).get("total_effect"), 2),
    "estimate to exact": lambda c: bits.interval(c["calibration"] or {}, "pearson"),
}
"""What each circuit is."""
ALIKE: Mapping[str, Callable[[Row], str]] = {
    "model": lambda c: readable(c["model_name"], 80),
    "method": lambda c: c["method"].replace("_", " "),
    "metric": lambda c: c["metric"].replace("_", " "),
    "nodes are set to": lambda c: c["ablation"],
}
"""How they were traced, which had better be the same."""


def _apart(one: str, other: str) -> tuple[Cell, Cell]:
    """Two settings; where they are not equal, a difference of effects may be theirs."""
    if one == other:
        return one, other
    note = "the two differ in this: differences of effects may be its"
    return cell(f"{one} ≠", title=note), cell(f"{other} ≠", title=note)


def _dictionaries(left: Row, right: Row) -> tuple[Cell, Cell]:
    mine, theirs = left["dictionaries"] or {}, right["dictionaries"] or {}
    same = [site for site in mine if theirs.get(site) == mine[site]]
    if len(same) == len(mine) == len(theirs):
        return f"the same at {len(same)} sites", f"the same at {len(same)} sites"
    said = f"{len(same)} of {{}} sites have the same in both"
    return said.format(len(mine)), said.format(len(theirs))
