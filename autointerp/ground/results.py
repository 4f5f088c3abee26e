"""From the rows of a bench run to what they come to: rows of `bench`.

1. For each scorer its card (`card.py`), over all planted features and for each kind of rule. The control beside a rung is
   the score of a foreign label; beside order and extent it is what the label itself, executed, reaches.
2. For each explainer the share of features whose rule it found, its mean F1 beside that for another feature, and the share
   of its texts that can be recognised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from autointerp.ground.card import Card, Line, card, mean, share, stored
from autointerp.ground.explaining import FOUND, Told, told
from autointerp.ground.judging import EXECUTED
from data.runs import Run
from data.store import Workspace, append
from data.words import Estimate

SITE = "planted"
ALL = "all"


def store(run: Run, seed: int) -> None:
    """Writes the rows of `bench` of a run, in place of any that it has, and what failed into its summary."""
    lines = lines_of(run.workspace, run.run)
    rows = [*_scorers(lines, run.run, seed), *_explainers(told(run), run.run, seed)]
    run.summary |= {"failed": failures(run.workspace, run.run)}
    with run.workspace.write() as db:
        db.execute("delete from bench where run = ? and site = ?", [run.run, SITE])
        append(db, "bench", rows)


def lines_of(workspace: Workspace, run: str) -> dict[str, list[Line]]:
    """Each scorer's ladders, in order of the features."""
    query = (
        "select method, latent, kind, rung, value, natural_auprc, yes, f1 from ground where run = ? "
        "order by method, latent, rung"
    )
    with workspace.read() as db:
        rows = db.execute(query, [run]).fetchall()
    found: dict[str, dict[int, Line]] = {}
    for method, latent, kind, rung, *numbers in rows:
        line = found.setdefault(method, {}).setdefault(latent, Line(latent, kind))
        for column, number in zip((line.value, line.natural, line.yes, line.f1), numbers, strict=True):
            if number is not None:
                column[rung] = number
    return {method: list(lines.values()) for method, lines in found.items()}


def failures(workspace: Workspace, run: str) -> dict[str, int]:
    """How many rungs each scorer has no score for, and how many features each explainer no text."""
    query = (
        "select method, count(*) from (select method, error from ground where run = $run "
        "union all select method, error from ground_explained where run = $run) "
        "where error is not null group by method order by method"
    )
    with workspace.read() as db:
        return dict(db.execute(query, {"run": run}).fetchall())


def _scorers(lines: Mapping[str, Sequence[Line]], run: str, seed: int) -> Iterator[dict[str, Any]]:
    kinds = [ALL, *dict.fromkeys(line.kind for some in lines.values() for line in some)]
    for kind in kinds:
        some = {method: [line for line in own if kind in (ALL, line.kind)] for method, own in lines.items()}
        cards = {method: card(own, seed) for method, own in some.items() if own}
        for method, found in cards.items():
            for metric, number in found.numbers.items():
                control = _control(metric, found, cards.get(EXECUTED))
                yield _row(kind, method, metric, number, control, found.trials[metric], run)


def _control(metric: str, own: Card, perfect: Card | None) -> float | None:
    beside = (
        own.numbers.get("auroc shuffled") if metric.startswith("auroc") else perfect and perfect.numbers.get(metric)
    )
    return beside.value if beside else None


def _explainers(found: Mapping[str, Sequence[Told]], run: str, seed: int) -> Iterator[dict[str, Any]]:
    for method, everything in found.items():
        program = any(one.f1 is not None for one in everything)
        for kind in (ALL, *dict.fromkeys(one.kind for one in everything)):
            some = [one for one in everything if kind in (ALL, one.kind)]
            yield from _explainer(kind, method, some, run, seed, program=program)


def _explainer(
    kind: str, method: str, some: Sequence[Told], run: str, seed: int, *, program: bool
) -> Iterator[dict[str, Any]]:
    """The numbers of an explainer; where it failed, or what it says cannot be run, the rule is not found.

    One that never says what can be run (`program` is false) writes prose, and nothing is said of rules found.
    """
    programs = [one for one in some if one.f1 is not None]
    told_of = [one for one in some if one.text]
    if program:
        f1 = [one.f1 if one.f1 is not None else 0.0 for one in some]
        control = [one.control or 0.0 for one in programs]
        hits = share(sum(value >= FOUND for value in f1), len(some))
        foreign = sum(value >= FOUND for value in control) / len(some)
        yield _row(kind, method, "rule found", hits, foreign, len(some), run)
        yield _row(kind, method, "F1", mean(f1, seed), float(np.mean(control or [0.0])), len(some), run)
    yield _row(kind, method, "executable", share(len(programs), len(some)), None, len(some), run)
    if told_of:
        known = share(sum(bool(one.recognised) for one in some), len(some))
        yield _row(kind, method, "recognised", known, None, len(some), run)


def _row(
    task: str, method: str, metric: str, number: Estimate, control: float | None, trials: int, run: str
) -> dict[str, Any]:
    return {
        "task": task, "site": SITE, "method": method, "metric": metric, "value": number.value,
        "lower": stored(number.lower), "upper": stored(number.upper), "control": control, "trials": trials, "run": run,
    }  # fmt: skip
