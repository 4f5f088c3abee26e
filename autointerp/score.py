"""Scores explanations: how well each tells windows where its feature is active from windows where it is silent.

1. For each explanation, windows are drawn from documents of the harvest's `score` half, which no explainer has seen, and
   another feature's explanation is its control (`trials.py`).
2. Each scorer (`scorers/`) judges both texts on the same windows; `assess.py` makes a score of it, with control, paired
   difference and bootstrap intervals over documents.
3. The judge is asked about planted features first, once for a scorer and a model (`calibration.py`); its scores carry what
   it made of them.
4. Each result becomes a row as soon as it is there, so that a run that was stopped goes on where it was. Scorers that ask
   no endpoint can be done by other processes (`spread.py`); this one alone writes to the store.
5. The run's summary says what was found over all features (`aggregate.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from autointerp.aggregate import aggregate
from autointerp.assess import assess, failure
from autointerp.calibration import SCORERS, Card, card_of, marked
from autointerp.config import ScoreConfig, has_endpoint
from autointerp.explain import begin
from autointerp.llm_config import named_endpoint
from autointerp.records import explanations_of, scored_already
from autointerp.spread import opened, spread
from autointerp.tools import Tools
from autointerp.trials import Trial, Trials
from autointerp.watch import watch
from data import parts, runs
from data.errors import Mistake
from data.parts import Choice
from data.pool import Lost, Pool
from data.runs import Run
from data.store import Workspace, append


@dataclass(frozen=True)
class Scores:
    """What a score run made: rows with a value, rows with an error, and the median value - control by scorer."""

    run: str
    scored: int
    failed: int
    differences: dict[str, float]


def score(workspace: Workspace, config: ScoreConfig, console: Console | None = None) -> Scores:
    """Scores, or finds an equal run that is done. Raises `Mistake` without explanations, or for an unknown scorer."""
    chosen = scorers_of(config)
    explanations = explanations_of(workspace, config.explanations)
    if not explanations:
        raise Mistake("That explain run has no explanation with a text; there is nothing to score.")
    inputs = {"explanations": [e.explanation for e in explanations], "scorers": [one.label for one in chosen]}
    if any(parts.load(SCORERS, one.name).NEEDS_ENDPOINT for one in chosen):
        inputs["endpoint"] = named_endpoint(config)
    if not config.retry and (done := runs.finished(workspace, "score", config, inputs)):
        return _result(workspace, done)
    with opened(config) as pool, begin(workspace, "score", config, config.seed, inputs) as run:
        prepared = Trials(workspace, explanations, config)
        with Tools.of(run, config) as tools:
            for scorer in chosen:
                with watch(run, f"scoring by {scorer.label}", len(prepared), console=console) as tools.advance:
                    _score(run, scorer, prepared, tools, pool, config)
        result = _result(workspace, run.run)
        run.summary |= {"scored": result.scored, "failed": result.failed, "differences": result.differences}
        run.summary |= aggregate(workspace, run.run) | pool.summary
    return result


def scorers_of(config: ScoreConfig) -> list[Choice]:
    """The scorers and their settings; `auto` depends on whether the environment names an endpoint."""
    named = config.scorers
    if named == "auto":
        named = "embedding,surprisal" + (",detection" if has_endpoint() else "")
    return list({one.label: one for one in parts.choices(SCORERS, named)}.values())


def _score(run: Run, scorer: Choice, prepared: Trials, tools: Tools, pool: Pool, config: ScoreConfig) -> None:
    name, done = scorer.label, scored_already(run.workspace, run.run)
    waiting = {one.explanation for one in prepared.explanations if (one.explanation, name) not in done}
    tools.advance(len(prepared) - len(waiting))
    judge: Judge | None = None
    for block in prepared.blocks(waiting):
        for trial in block:
            if trial.problem:
                _store(run, name, trial, failure(trial, trial.problem))
                tools.advance()
        if ready := [trial for trial in block if not trial.problem]:
            judge = judge or _judge(run, scorer, ready[0], config, tools)
            for trial, columns in _each(judge, ready, config, tools, pool):
                _store(run, name, trial, columns)


def _judge(run: Run, scorer: Choice, trial: Trial, config: ScoreConfig, tools: Tools) -> Judge:
    part: Any = parts.load(SCORERS, scorer.name)
    model = _model(scorer, part, tools)
    asked = config.calibrate and getattr(part, "CALIBRATED", False)
    return Judge(scorer, model, _card(run, scorer, model, trial, tools) if asked else None)


def _model(scorer: Choice, part: Any, tools: Tools) -> str:
    """Who judges: a model of the endpoint, a local one, or nobody ("")."""
    if part.NEEDS_ENDPOINT:
        return getattr(scorer.options, "model", "") or tools.client.endpoint.model
    return part.model(tools) if hasattr(part, "model") else ""


@dataclass(frozen=True)
class Judge:
    """A scorer, the model that judges by it (or ""), and what that made of planted features."""

    scorer: Choice
    model: str
    card: Card | str | None


def _each(
    judge: Judge, ready: Sequence[Trial], config: ScoreConfig, tools: Tools, pool: Pool
) -> Iterator[tuple[Trial, dict[str, Any]]]:
    """The columns of each trial's row, by this process or by the pool's workers, as they are done."""
    if pool.here or parts.load(SCORERS, judge.scorer.name).NEEDS_ENDPOINT:
        yield from zip(ready, _judged(judge, ready, tools), strict=True)
        return
    for trial, columns in spread(pool, Judging(str(tools.workspace.folder), judge, config), ready):
        yield trial, failure(trial, f"lost: {columns.reason}") if isinstance(columns, Lost) else columns
        tools.advance()


@dataclass(frozen=True)
class Judging:
    """Makes what judges some trials in a worker, with instruments that it keeps."""

    folder: str
    judge: Judge
    config: ScoreConfig

    def __call__(self) -> Callable[[Sequence[Trial]], list[dict[str, Any]]]:
        config = self.config
        tools = Tools(Workspace(Path(self.folder)), config.seed, config.judge, config, publishes=False)

        def several(some: Sequence[Trial]) -> list[dict[str, Any]]:
            with tools:
                return list(_judged(self.judge, some, tools))

        return several


def _judged(judge: Judge, some: Sequence[Trial], tools: Tools) -> Iterator[dict[str, Any]]:
    """The columns of each trial's row, in order."""
    found = parts.load(SCORERS, judge.scorer.name).judge([t.question for t in some], tools, judge.scorer.options)
    for trial, judgement in zip(some, found, strict=True):
        yield marked(assess(trial, judgement, tools.seed), judge.model, judge.card)


def _card(run: Run, scorer: Choice, judge: str, trial: Trial, tools: Tools) -> Card | str | None:
    """What the judge made of planted features; asking about them is no step of the run."""
    if trial.reader is None:
        return None
    advance, tools.advance = tools.advance, Tools.advance
    try:
        return card_of(trial.reader, scorer, judge, tools, run.run)
    finally:
        tools.advance = advance


def _store(run: Run, scorer: str, trial: Trial, columns: dict[str, Any]) -> None:
    """Writes the row, in place of the one an earlier run may have written for this explanation and scorer."""
    key = trial.explanation.explanation
    with run.workspace.write() as db:
        db.execute("delete from scores where explanation = ? and scorer = ?", [key, scorer])
        append(db, "scores", [{"explanation": key, "scorer": scorer, "run": run.run} | columns])


def _result(workspace: Workspace, run: str) -> Scores:
    with workspace.read() as db:
        rows = db.execute("select scorer, value, difference from scores where run = ?", [run]).fetchall()
    scored = [row for row in rows if row[1] is not None]
    by_scorer = {name: [d for s, _, d in scored if s == name and d is not None] for name, _, _ in scored}
    differences = {name: round(float(np.median(found)), 4) for name, found in sorted(by_scorer.items()) if found}
    return Scores(run, len(scored), len(rows) - len(scored), differences)
