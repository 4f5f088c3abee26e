"""Rows of `bench` by what they are of, and as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard.widgets import bits
from dashboard.widgets.dots import Dot
from dashboard.widgets.table import cell
from data.errors import unknown

Row = Mapping[str, Any]
ALL = "all"
"""The task of a number over all planted features."""


@dataclass(frozen=True)
class Numbers:
    """The rows of one site of a run."""

    rows: Mapping[tuple[str, str, str], Row]
    """By task, method and metric."""

    @classmethod
    def of(cls, rows: Sequence[Row], site: str) -> Numbers:
        return cls({(r["task"], r["method"], r["metric"]): r for r in rows if r["site"] == site})

    def get(self, metric: str, method: str, task: str = ALL) -> Row | None:
        return self.rows.get((task, method, metric))

    def methods(self, metric: str) -> list[str]:
        """The methods that have a metric, in the run's order."""
        return list(dict.fromkeys(m for _, m, name in self.rows if name == metric))

    def tasks(self) -> list[str]:
        """The tasks but `all`, by name."""
        return sorted({task for task, _, _ in self.rows} - {ALL})

    def metrics(self) -> list[str]:
        return list(dict.fromkeys(metric for _, _, metric in self.rows))


def shown(found: Row | None, digits: int = 2) -> dict[str, Any]:
    """A number with its interval; how many trials it rests on, and its control, when it is hovered."""
    if found is None:
        return cell("—", sort=-1e9, raw="")
    text = bits.number(found["value"], digits)
    if found["lower"] is not None:
        text += f" [{bits.number(found['lower'], digits)}, {bits.number(found['upper'], digits)}]"
    control = "" if found["control"] is None else f"; control {bits.number(found['control'], digits)}"
    return cell(text, sort=found["value"], raw=found["value"], title=f"of {found['trials']}{control}")


def beside(found: Row | None, digits: int = 2) -> dict[str, Any]:
    """A number with its interval, and its control in round brackets; grey where the control is as good."""
    made = shown(found, digits)
    if found is None:
        return made
    if found["control"] is None:
        return made | {"tone": "grey", "title": f"{made['title']}; no control"}
    low = found["value"] if found["lower"] is None else found["lower"]
    tone = {} if low > found["control"] else {"tone": "grey", "title": f"{made['title']}; not surely above it"}
    return made | {"text": f"{made['text']} ({bits.number(found['control'], digits)})"} | tone


def dot(found: Row | None, control: float | None = None, style: int = 0) -> Dot | None:
    """A number as a dot."""
    return None if found is None else Dot(found["value"], found["lower"], found["upper"], control, style)


def chosen_run(runs: Sequence[Row], what: str, page: str = "trust") -> Row:
    """The run that the address names, or the newest; with a way to the others."""
    known = {r["run"]: r for r in runs}
    asked = st.query_params.get("run", runs[0]["run"])
    if asked not in known:
        raise unknown(what, asked, known)
    if len(runs) > 1:
        with st.popover(f"{len(runs)} runs"):
            for r in runs:
                here = " (shown)" if r["run"] == asked else ""
                query = {"run": r["run"]} | ({"of": of} if (of := st.query_params.get("of")) else {})
                bits.link(page, f"{r['run']}, {r['started']:%Y-%m-%d %H:%M}{here}", query)
    return known[asked]
