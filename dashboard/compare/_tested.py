"""Two circuits that `lacewing diff` has tested: the findings at its false-discovery rate, and what it could have found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from circuits import diff_text
from dashboard import source
from dashboard.compare._overlap import explained, filtered, named
from dashboard.compare._setting import Setting
from dashboard.widgets import bits, turning
from dashboard.widgets.table import Column, Options, cell, effect, row, table
from dashboard.widgets.tokens import readable
from data.queries import of_comparison

Row = Mapping[str, Any]
BY = {"place": "position", "role": "role", "sum": "anywhere"}
"""How nodes correspond, by the word that a comparison keeps."""
TURNED = {"added": "lost", "lost": "added"}
MEANING = {
    "added": "in the right circuit alone",
    "lost": "in the left circuit alone",
    "re-weighted": "in both, with another effect",
    "sign changed": "in both, the intervals on opposite sides of 0",
    "outside": "in neither circuit, yet its effect differs",
    "same": "no difference that can be told from chance",
}
SIGNS = {"added": "+", "lost": "−", "re-weighted": "↕", "sign changed": "±", "outside": "○", "same": "="}


def head(setting: Setting) -> dict[str, str]:
    """The findings in figures and sentences; returns the words of each cell of the overview."""
    _said(setting, _counts(setting))
    return _words(setting)


def _counts(setting: Setting) -> dict[tuple[str, str], int]:
    assert setting.run is not None
    found = source.ask(of_comparison.status_counts, setting.run["run"])
    return {(row["kind"], turned(row["status"], setting)): row["count"] for row in found}


def turned(status: str, setting: Setting) -> str:
    """A status as it is called in the order of the address."""
    return TURNED.get(status, status) if setting.turned else status


def _said(setting: Setting, counts: Mapping[tuple[str, str], int]) -> None:
    assert setting.run is not None
    summary, config = setting.run["summary"], setting.run["config"]
    found = {kind: sum(n for (k, s), n in counts.items() if k == kind and s != "same") for kind in ("node", "edge")}
    rate = f"at a false-discovery rate of {100 * summary['rate']:g} %"
    bits.section("Tested", f"run {setting.run['run']}, {rate}")
    chance, least = summary["control"]["findings"], summary["detectable"]
    bits.figures(
        [
            ("Nodes that differ", bits.number(found["node"]), f"of {summary['tested']['node']:,} tested"),
            ("Edges that differ", bits.number(found["edge"]), f"of {summary['tested']['edge']:,} tested"),
            *(
                (name.capitalize(), f"{SIGNS[name]} {counts.get(('node', name), 0)}", MEANING[name])
                for name in of_comparison.STATUSES
            ),
            (
                "By chance",
                f"{chance:g}",
                f"findings when examples are dealt at random ({summary['control']['deals']} deals)",
            ),
            ("Detectable", bits.number(least, 3), "difference found in four of five cases, in a typical column"),
        ]
    )
    order = " It was run the other way round; all below is turned to your order." if setting.turned else ""
    lines = [*diff_text.sentences(config["left"], config["right"], summary)]
    with st.expander(bits.escape_markdown(f"What was compared, and what it could have found.{order}")):
        st.html("".join(f'<div class="lw-line">{bits.escape(readable(line, 500))}</div>' for line in lines))


def _words(setting: Setting) -> dict[str, str]:
    """What was found in each cell of the overview."""
    assert setting.run is not None
    said: dict[str, list[str]] = {}
    for found in source.ask(of_comparison.found_by_place, setting.run["run"]):
        name = f"{found['site']}@{_place(setting, found['place'])}"
        said.setdefault(name, []).append(f"{found['count']} {turned(found['status'], setting)}")
    return {name: ", ".join(parts) for name, parts in said.items()}


def _place(setting: Setting, place: str) -> str:
    """A place of the test as a column of the overview: the test counts those of its left circuit."""
    if setting.by != "role":
        return place if setting.by == "position" else ""
    roles = ((setting.right if setting.turned else setting.left)["prompt"] or {}).get("roles") or []
    return roles[int(place)] if place.isdigit() and int(place) < len(roles) else place


def _cell(setting: Setting, chosen: str) -> str:
    """A cell of the overview as the test names it."""
    if not chosen or setting.by == "position":
        return chosen
    site, _, place = chosen.rpartition("@")
    roles = ((setting.right if setting.turned else setting.left)["prompt"] or {}).get("roles") or []
    number = roles.index(place) if setting.by == "role" and place in roles else 0
    return f"{site}@{number}"


def nodes(setting: Setting) -> None:
    """The rows of the comparison, a page at a time."""
    assert setting.run is not None
    counts = _counts(setting)
    bits.section(
        "Differences",
        "estimated effects, right minus left, 95 % intervals; q: share of false findings among those up to here",
    )
    kinds, finds = ["nodes and edges", "node", "edge"], ["all findings", *of_comparison.STATUSES, "same"]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        kind = turning.choice("Of", "of", kinds, width=170)
        find = turning.choice("Finding", "find", finds, width=170)
        order = turning.choice("Order", "order", list(of_comparison.ORDERS), width=200)
    chosen, page = st.query_params.get("cell", ""), turning.asked()
    if chosen:
        filtered(chosen)
    status = "" if find == finds[0] else TURNED.get(find, find) if setting.turned else find
    swap = {"rank on the left": "rank on the right", "rank on the right": "rank on the left"} if setting.turned else {}
    wanted = of_comparison.Filter(
        "" if kind == kinds[0] else kind, status, _cell(setting, chosen), swap.get(order, order)
    )
    offset = (page - 1) * turning.SIZE
    found = source.ask(of_comparison.differences, setting.run["run"], wanted, offset=offset, limit=turning.SIZE)
    if not found:
        _nothing(counts, wanted)
        return
    total = found[0]["total"]
    note = turning.span(total, page, len(found))
    shown = [turn_row(r) if setting.turned else r for r in found]
    table("compare_differences", COLUMNS, rows=_table(shown, setting), options=_options(note))
    turning.turn(total, page)


def _options(note: str) -> Options:
    return Options("Differences", sort=False, csv="differences.csv", note=note)


def _nothing(counts: Mapping[tuple[str, str], int], wanted: of_comparison.Filter) -> None:
    tested = sum(counts.values())
    if not wanted.status and not wanted.cell and not wanted.kind:
        bits.gap(
            f"None of the {tested:,} nodes and edges tested differs by more than chance. "
            "Choose the finding “same” to see them all the same."
        )
    else:
        bits.gap("Nothing that was found fits this choice.")


COLUMNS = (
    Column("Finding", "line"),
    Column("Node or edge", "mono"),
    Column("Left", "num", "mean effect in the left circuit's examples"),
    Column("Right", "num"),
    Column("Difference", "num", "right minus left"),
    Column("Interval", "num"),
    Column("q", "num", "Benjamini and Hochberg"),
    Column("Rank left", "num", "a dash: not in that circuit"),
    Column("Rank right", "num", "a dash: not in that circuit"),
    Column("Explanation"),
)


def _table(found: Sequence[Row], setting: Setting) -> list[dict[str, Any]]:
    top = max(abs(r["difference"]) for r in found)
    return [
        row(
            [
                cell(f"{SIGNS.get(r['status'], '')} {r['status']}", title=MEANING.get(r["status"], "")),
                named(r, _name(r, setting)),
                _mean(r["left_effect"]),
                _mean(r["right_effect"]),
                effect(r["difference"], top),
                cell(f"[{bits.signed(r['lower'])}, {bits.signed(r['upper'])}]", tone="quiet"),
                cell(bits.number(r["q"]), sort=r["q"], raw=r["q"]),
                cell("—" if r["left_rank"] is None else r["left_rank"], sort=r["left_rank"] or 1e9),
                cell("—" if r["right_rank"] is None else r["right_rank"], sort=r["right_rank"] or 1e9),
                explained(r) if r["kind"] == "node" else cell(""),
            ]
        )
        for r in found
    ]


def _mean(value: float) -> dict[str, Any]:
    return effect(value) if value else cell("0", tone="quiet", sort=0, raw=0)


def _name(r: Row, setting: Setting) -> str:
    """The node or edge; both names where the dictionaries differ. Its place is told as the overview tells it."""
    names = r["left_name"] if r["left_name"] == r["right_name"] else f"{r['left_name']} ≈ {r['right_name']}"
    if setting.by == "position":
        return names
    return re.sub(r"@(\d+)(?= |$)", lambda m: f" @ {readable(p, 24)}" if (p := _place(setting, m[1])) else "", names)


def turn_row(r: Row) -> dict[str, Any]:
    """A row of a comparison as if it had been run the other way round."""
    return {
        **r,
        "status": TURNED.get(r["status"], r["status"]),
        "difference": -r["difference"], "lower": -r["upper"], "upper": -r["lower"],
        **{f"{side}_{what}": r[f"{other}_{what}"] for side, other in (("left", "right"), ("right", "left"))
           for what in ("name", "rank", "effect", "circuit")},
    }  # fmt: skip
