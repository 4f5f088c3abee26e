"""The judges behind scores: what each makes of planted features before it judges anything else, and how it behaves.

A judge whose answers hardly depend on what it is asked is called degenerate; its scores are worth nothing, whatever they
are. Two judges of the same explanations are compared on the Feature page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard import source, steps
from dashboard.trust._numbers import Numbers, dot, shown
from dashboard.widgets import bits, dots
from dashboard.widgets.dots import Panel
from dashboard.widgets.table import Column, Options, cell, row, table
from dashboard.widgets.tokens import readable
from data.queries import of_ground

NAME = "judges"
ORDER = 2

Row = Mapping[str, Any]


def render() -> None:
    """Draws every judge that the store knows."""
    found, cards = source.ask(of_ground.judges), source.ask(of_ground.cards)
    if not found and not cards:
        bits.gap("No judge has scored anything here yet.", steps.command(source.workspace(), "score"))
        return
    _used(found)
    _cards(cards)


def _used(found: Sequence[Row]) -> None:
    bits.section(
        "In use", "by the scores they gave; right minus foreign labels on planted features says what they can do"
    )
    if not found:
        bits.gap("No score names a judge.", steps.command(source.workspace(), "score"))
        return
    bad = sum(f["degenerate"] for f in found)
    bits.figures(
        [
            ("Judges", bits.number(len({f["judge"] for f in found})), f"by {len(found)} scorers"),
            (
                "Scores",
                bits.number(sum(f["scores"] for f in found)),
                f"{sum(f['errors'] for f in found):,} of them errors",
            ),
            ("Degenerate", bits.number(bad), "scores whose judge hardly depends on what it is asked"),
            ("Without a control", bits.number(sum(f["bare"] for f in found)), "cannot be told from chance"),
        ]
    )
    columns = [
        Column("Judge"),
        Column("Scorer"),
        Column("Scores", "num"),
        Column("Errors", "num"),
        Column("Right − foreign", "num", "on planted features; grey: not surely above 0, or never tried"),
        Column("Agreement", "num", "share of equal verdicts in two orders of asking; a dash: asked once"),
        Column("Requests failed", "num"),
        Column("Verdict", "line"),
    ]
    rows = [_judge(f) for f in found]
    table("trust_used", columns, rows=rows, options=Options("Judges in use", csv="judges.csv"))


def _judge(f: Row) -> dict[str, Any]:
    able = f["judge_lower"] is not None and f["judge_lower"] > 0
    tried = f["judge_difference"] is not None
    verdict, tone = ("degenerate", "negative") if f["degenerate"] else ("tells right from wrong", "positive")
    if not f["degenerate"] and not able:
        verdict, tone = ("not surely better than chance" if tried else "never tried on planted features"), "grey"
    right = cell(
        bits.interval({**f, "judge_difference_lower": f["judge_lower"], "judge_difference_upper": f["judge_upper"]},
                     "judge_difference"),
        sort=f["judge_difference"] or 0.0, **({} if able else {"tone": "grey"}),
    )  # fmt: skip
    return row(
        [
            cell(readable(f["judge"], 80)),
            cell(readable(f["scorer"], 80), title=readable(f["scorer"], 300)),
            f["scores"],
            f["errors"],
            right,
            bits.percent(f["agreement"], 0),
            bits.number(f["failures"]),
            cell(verdict, tone=tone, title=f"{f['degenerate']} of {f['scores']} scores were called degenerate"),
        ]
    )


def _cards(cards: Sequence[Row]) -> None:
    bits.section(
        "On planted features", "score of right labels, □ of foreign ones; before it judges, every judge is tried so"
    )
    if not cards:
        bits.gap("No judge was tried on planted features.", steps.command(source.workspace(), "score"))
        return
    pairs = list(dict.fromkeys((c["site"], c["method"]) for c in cards))
    numbers = {pair: Numbers.of([c for c in cards if c["method"] == pair[1]], pair[0]) for pair in pairs}
    found = {pair: {c["metric"]: c for c in n.rows.values()} for pair, n in numbers.items()}
    names = [readable(f"{judge} by {scorer}", 60) for judge, scorer in pairs]
    values = [dot(f.get("value"), (f.get("control") or {}).get("value")) for f in found.values()]
    dots.dots("trust_cards", names, [
        Panel("score of right labels", values, reference=0.5, low=0.0, high=1.0, control="foreign labels"),
        Panel("right − foreign", [dot(f.get("difference")) for f in found.values()], reference=0.0),
    ])  # fmt: skip
    metrics = ("value", "control", "difference", "recall", "fallout", "yes", "agreement")
    labels = ("Right labels", "Foreign labels", "Difference", "Recall", "Fallout", "Says yes", "Agreement")
    columns = [Column("Judge"), Column("Scorer"), *(Column(label, "num") for label in labels), Column("n", "num")]
    rows = [
        row(
            [
                cell(readable(judge, 80)),
                cell(readable(scorer, 80)),
                *(shown(f.get(m)) for m in metrics),
                next(iter(f.values()))["trials"],
            ]
        )
        for (judge, scorer), f in found.items()
    ]
    table(
        "trust_judged", columns, rows=rows, options=Options("Judges on planted features", sort=False, csv="cards.csv")
    )
