"""The tables of a bench run, read from the store: what was found, with its intervals, and what was not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from autointerp.ground import functions, puzzles
from autointerp.ground.card import NOTICED, Card, card
from autointerp.ground.judging import EXECUTED
from autointerp.ground.ladder import RUNGS
from autointerp.ground.results import ALL, SITE, lines_of
from data import runs
from data.sql import Answer, as_table
from data.store import Workspace
from data.words import Estimate

TESTS = ("halved is lower", "doubled is lower", "halved is lower (natural)", "doubled is lower (natural)")
SHOWN = 4
"""Pairs out of order that are named for a scorer."""

Numbers = Mapping[tuple[str, str, str], Estimate]
"""By task, method and metric."""


def tables(workspace: Workspace, run: str) -> str:
    """Everything that `run` found, as text."""
    record = runs.find(workspace, run)
    numbers, counts = _numbers(workspace, run, SITE)
    lines = lines_of(workspace, run)
    cards = {method: card(own, 0) for method, own in lines.items()}
    summary = record["summary"]
    methods = [EXECUTED, *(m for m in cards if m != EXECUTED)]
    explainers = list(dict.fromkeys(m for _, m, metric in numbers if metric == "executable"))
    found = [
        _about(summary),
        "Score of each rung (mean over features)", _rungs(numbers, methods),
        "Order and extent", _order(numbers, methods, cards),
        "Judges", _judges(numbers, methods, cards, summary),
        "Score of the right label, by kind of rule (in brackets a foreign label)", _kinds(numbers, methods),
        "Explainers", _explainers(numbers, explainers, counts, summary),
        "Rules found, by kind", _found(numbers, explainers),
        *_others(workspace, run),
        f"Run {run}: rows in `bench`, `ground` and `ground_explained`.",
    ]  # fmt: skip
    return "\n".join(found) + "\n"


def _about(summary: Mapping[str, Any]) -> str:
    left = len(summary["left_out"])
    return (
        f"{summary['features']} planted features in {summary['tokens']:,} tokens ({left} rules fire too seldom there). "
        f"Intervals are over features. `{EXECUTED}` is the label itself, run on the same windows: a test that it fails "
        f"says nothing of the others. (natural): by average precision at the natural rate, on random windows."
    )


def _numbers(workspace: Workspace, run: str, site: str) -> tuple[Numbers, Mapping[tuple[str, str, str], int]]:
    query = "select task, method, metric, value, lower, upper, trials from bench where run = ? and site = ?"
    with workspace.read() as db:
        rows = db.execute(query, [run, site]).fetchall()
    nothing = float("nan")
    estimates = {
        (task, method, metric): Estimate(
            value, nothing if lower is None else lower, nothing if upper is None else upper
        )
        for task, method, metric, value, lower, upper, _ in rows
    }
    return estimates, {tuple(row[:3]): row[6] for row in rows}


def _text(number: Estimate | None, interval: bool = True) -> str:
    if number is None:
        return ""
    sure = interval and not math.isnan(number.lower)
    return f"{number.value:.2f}" + (f" ({number.lower:.2f} to {number.upper:.2f})" if sure else "")


def _rungs(numbers: Numbers, methods: Sequence[str]) -> str:
    rows = [(m, *(_text(numbers.get((ALL, m, f"auroc {rung}"))) for rung in RUNGS)) for m in methods]
    return as_table(Answer(("scorer", *RUNGS), rows))


def _order(numbers: Numbers, methods: Sequence[str], cards: Mapping[str, Card]) -> str:
    columns = ("order", "order where labels differ", "spearman with order", "spearman with true F1", *TESTS)
    rows = [
        (m, *(_text(numbers.get((ALL, m, c))) for c in columns), _failing(numbers, m), _worst(cards[m]))
        for m in methods
    ]
    return as_table(Answer(("scorer", *columns, f"below {NOTICED:.0%}", "out of order (above, below, features)"), rows))


def _failing(numbers: Numbers, method: str) -> str:
    """The tests of extent that the scorer fails."""
    known = [(test, numbers[ALL, method, test]) for test in TESTS if (ALL, method, test) in numbers]
    return ", ".join(test.replace(" is lower", "") for test, number in known if number.value < NOTICED) or "none"


def _worst(found: Card) -> str:
    named = [f"{above} > {below}: {count}" for above, below, count in found.violations[:SHOWN]]
    return ", ".join(named) or "none"


def _judges(numbers: Numbers, methods: Sequence[str], cards: Mapping[str, Card], summary: Mapping[str, object]) -> str:
    rows: list[tuple[str, ...]] = []
    failed, remarks = (_mapping(summary, name) for name in ("failed", "remarks"))
    for m in methods:
        said = numbers.get((ALL, m, "yes to injection"))
        note = "follows it" if cards[m].follows else "" if said is None else "does not follow it"
        own = "; ".join(f"{remark} ({count} features)" for remark, count in _mapping(remarks, m).items())
        right = numbers.get((ALL, m, "right - swapped"))
        rows.append((m, _text(right), _text(said), note, str(failed.get(m, 0)), own))
    columns = (
        "scorer",
        "right - swapped",
        "yes to injection - to foreign",
        "injection",
        "rungs without score",
        "remarks",
    )
    return as_table(Answer(columns, rows))


def _mapping(summary: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = summary.get(name)
    return found if isinstance(found, Mapping) else {}


def _tasks(numbers: Numbers) -> list[str]:
    return sorted({task for task, _, _ in numbers} - {ALL})


def _kinds(numbers: Numbers, methods: Sequence[str]) -> str:
    rows = [(task, *(_pair(numbers, task, m) for m in methods)) for task in _tasks(numbers)]
    return as_table(Answer(("kind", *methods), rows))


def _pair(numbers: Numbers, task: str, method: str) -> str:
    right, wrong = (numbers.get((task, method, f"auroc {rung}")) for rung in ("exact", "shuffled"))
    return f"{_text(right)} [{_text(wrong, interval=False)}]" if right else ""


def _explainers(
    numbers: Numbers,
    explainers: Sequence[str],
    counts: Mapping[tuple[str, str, str], int],
    summary: Mapping[str, object],
) -> str:
    columns = ("rule found", "F1", "executable", "recognised")
    failed = _mapping(summary, "failed")
    rows = [
        (
            m,
            *(_text(numbers.get((ALL, m, c))) for c in columns),
            str(counts[ALL, m, "executable"]),
            str(failed.get(m, 0)),
        )
        for m in explainers
    ]
    return as_table(Answer(("explainer", *columns, "features", "without a text"), rows))


def _found(numbers: Numbers, explainers: Sequence[str]) -> str:
    rows = [(task, *(_text(numbers.get((task, m, "rule found"))) for m in explainers)) for task in _tasks(numbers)]
    return as_table(Answer(("kind", *explainers), rows))


def _others(workspace: Workspace, run: str) -> list[str]:
    """The tables of functions and puzzles, those that there are."""
    found: list[str] = []
    for site, title in (
        (
            functions.SITE,
            "Functions with a corrupted interval: agreement on inputs not seen (all, inside the interval)",
        ),
        (puzzles.SITE, "Puzzles of automated-interpretability: the true explanation against its near misses"),
    ):
        numbers, counts = _numbers(workspace, run, site)
        if numbers:
            rows = list(dict.fromkeys((task, method) for task, method, _ in numbers))
            columns = list(dict.fromkeys(metric for _, _, metric in numbers))
            body = [(*row, *(_text(numbers.get((*row, c))) for c in columns), _most(counts, row)) for row in rows]
            found += [title, as_table(Answer(("of", "method", *columns, "trials"), body))]
    return found


def _most(counts: Mapping[tuple[str, str, str], int], row: tuple[str, str]) -> str:
    return str(max(count for (task, method, _), count in counts.items() if (task, method) == row))
