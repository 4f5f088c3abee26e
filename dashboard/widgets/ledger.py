"""The table of interventions: predicted beside measured beside random, with a verdict, a row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dashboard import intervening
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, cell, effect, link, row, table

Row = Mapping[str, Any]
TONES = {"verified": "positive", "contradicted": "negative", "untested": "quiet"}


def table_of(
    key: str,
    rows: Sequence[Row],
    *,
    selected: str | None,
    pick: Callable[[str], None],
    height: int | None = None,
    circuit: bool = True,
    csv: str = "interventions.csv",
    note: str = "",
) -> None:
    """Draws interventions; `circuit` says whether the columns are there that are all the same on a circuit's page."""
    columns = [Column("When", "line"), Column("Done", "clip"), Column("Nodes", "mono clip")]
    columns += [Column("Task", "line"), Column("Circuit", "mono line")] if circuit else []
    columns += [
        Column("Predicted", "num", "change of the metric, the sum of the sites' estimates"),
        Column("Measured", "num", "change of the metric, with its interval over held-out prompts"),
        Column("Random", "num", "the change by as many random live nodes of the same sites and places"),
        Column("Verdict", "line", "whether the prediction lies within the measured interval"),
    ]
    options = Options("Interventions", height=height, csv=csv, selected=selected, note=note)
    table(key, columns, rows=[_row(r, circuit) for r in rows], options=options, pick=pick)


def _row(r: Row, circuit: bool) -> dict[str, Any]:
    names = list(r["nodes"])
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    place = [
        r["task"] or "own prompt",
        link(r["circuit"][:8], "circuit", circuit=r["circuit"]) if r["circuit"] else cell("—", tone="quiet"),
    ]
    return row(
        [
            f"{r['started']:%Y-%m-%d %H:%M}" if r["started"] else "—",
            cell(intervening.said(r), title=intervening.said(r)),
            cell(names[0] + more, title=", ".join(names[:40])),
            *(place if circuit else []),
            effect(r["predicted"]),
            measured(r),
            random(r),
            verdict(r),
        ],
        r["intervention"],
    )


def measured(r: Row) -> dict[str, Any]:
    """The measured change with its interval; one prompt has none."""
    if r["examples"] < 2:
        return effect(r["measured"])
    between = f" [{bits.signed(r['measured_lower'], 2)}, {bits.signed(r['measured_upper'], 2)}]"
    tone = "positive" if r["measured"] >= 0 else "negative"
    return cell(bits.signed(r["measured"]) + between, tone=tone, sort=r["measured"], raw=r["measured"])


def random(r: Row) -> dict[str, Any]:
    """The control, grey where the change is no more than that."""
    if r["control"] is None:
        return cell("none", tone="grey", sort=0.0, raw="")
    title = f"{bits.interval(r, 'control')}" + (
        "" if r["beside_random"] else "; not told apart from the change measured"
    )
    tone = "quiet" if r["beside_random"] else "grey"
    return cell(bits.signed(r["control"]), tone=tone, sort=r["control"], raw=r["control"], title=title)


def verdict(r: Row) -> dict[str, Any]:
    """The verdict as a sign and a word."""
    sign, meaning = intervening.VERDICTS[r["verdict"]]
    return cell(f"{sign} {r['verdict']}", tone=TONES[r["verdict"]], title=meaning)
