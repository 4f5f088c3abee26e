"""Scores explanations: how well each tells windows where its feature is active from windows where it is silent.

1. For each explanation, windows are drawn from documents of the harvest's `score` half, which no explainer has seen.
2. Another feature's explanation, drawn by the seed, is its control: the same judge judges both on the same windows.
3. Each scorer (`scorers/`) judges how well both texts fit each window; here judgements become an AUROC, the control's
   AUROC and their paired difference, with bootstrap intervals over documents (`auroc.py`).
4. Each result becomes a row as soon as it is there. Windows without a judgement are left out and counted; with more than
   half of them missing, or one kind of window gone, there is no score but an error.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from autointerp.auroc import Comparison, compare
from autointerp.config import ScoreConfig, has_endpoint
from autointerp.examples import Reader, TooFew, Window, judged
from autointerp.explain import begin
from autointerp.judgements import Judgement, Question
from autointerp.records import Explanation, explanations_of, scored_already
from autointerp.tools import Tools
from autointerp.watch import Advance, watch
from data import parts, runs
from data.errors import Mistake
from data.parts import Choice
from data.runs import Run
from data.store import Workspace, append
from data.words import Estimate, digest

SCORERS = "autointerp.scorers"


@dataclass(frozen=True)
class Scores:
    """What a score run made: rows with a value, rows with an error, and the median value - control by scorer."""

    run: str
    scored: int
    failed: int
    differences: dict[str, float]


@dataclass(frozen=True)
class Trial:
    """An explanation, the windows that test it (or why there are none), and the explanation that is its control."""

    explanation: Explanation
    windows: list[Window]
    problem: str | None
    control: Explanation | None
    reader: Reader | None = None

    @property
    def question(self) -> Question:
        texts = [self.explanation.text, *([self.control.text] if self.control else [])]
        return Question(tuple(texts), self.windows, self.explanation.feature, self.reader)


def score(workspace: Workspace, config: ScoreConfig, console: Console | None = None) -> Scores:
    """Scores, or finds an equal run that is done. Raises `Mistake` without explanations, or for an unknown scorer."""
    chosen = scorers_of(config)
    explanations = explanations_of(workspace, config.explanations)
    if not explanations:
        raise Mistake("That explain run has no explanation with a text; there is nothing to score.")
    inputs = {"explanations": [e.explanation for e in explanations], "scorers": [one.label for one in chosen]}
    if not config.retry and (done := runs.finished(workspace, "score", config, inputs)):
        return _result(workspace, done)
    with begin(workspace, "score", config, config.seed, inputs) as run:
        trials = _trials(workspace, explanations, config)
        for scorer in chosen:
            with watch(run, f"scoring by {scorer.label}", len(trials), console=console) as advance:
                _score(run, scorer, trials, config, advance)
        result = _result(workspace, run.run)
        run.summary |= {"scored": result.scored, "failed": result.failed, "differences": result.differences}
    return result


def scorers_of(config: ScoreConfig) -> list[Choice]:
    """The scorers and their settings; `auto` depends on whether the environment names an endpoint."""
    named = config.scorers
    if named == "auto":
        named = "embedding,surprisal" + (",detection" if has_endpoint() else "")
    return list({one.label: one for one in parts.choices(SCORERS, named)}.values())


def _trials(workspace: Workspace, explanations: Sequence[Explanation], config: ScoreConfig) -> list[Trial]:
    reader = functools.cache(functools.partial(Reader, workspace))
    trials: list[Trial] = []
    for explanation in explanations:
        control = swap(explanation, explanations, config.seed)
        feature = explanation.feature
        try:
            windows = judged(reader(feature.dictionary), feature.latent, "score", config.windows, config.seed)
            trials.append(Trial(explanation, windows, None, control, reader(feature.dictionary)))
        except TooFew as reason:
            trials.append(Trial(explanation, [], str(reason), control))
    return trials


def swap(explanation: Explanation, others: Sequence[Explanation], seed: int) -> Explanation | None:
    """Another feature's explanation with another text, drawn by `seed`; None when there is none."""
    pool = [o for o in others if o.feature != explanation.feature and o.text != explanation.text]
    return min(pool, key=lambda o: digest("swap", seed, explanation.explanation, o.explanation), default=None)


def _score(run: Run, scorer: Choice, trials: Sequence[Trial], config: ScoreConfig, advance: Advance) -> None:
    name = scorer.label
    done = scored_already(run.workspace, run.run)
    waiting = [t for t in trials if (t.explanation.explanation, name) not in done]
    advance(len(trials) - len(waiting))
    for trial in waiting:
        if trial.problem:
            _store(run, name, trial, _failure(trial, trial.problem))
            advance()
    ready = [t for t in waiting if not t.problem]
    tools = Tools(run.workspace, config.seed, config.judge, config.llm_model, config.llm_requests, advance)
    found = parts.load(SCORERS, scorer.name).judge([t.question for t in ready], tools, scorer.options)
    for trial, judgement in zip(ready, found, strict=True):
        _store(run, name, trial, assess(trial, judgement, config.seed))


def assess(trial: Trial, judgement: Judgement, seed: int) -> dict[str, Any]:
    """The columns of a row of `scores`: value, control and difference, or the error."""
    truth = np.array([w.active for w in trial.windows])
    usable = ~np.isnan(judgement.values).any(0)
    kept = truth[usable]
    if usable.mean() <= 0.5 or kept.all() or not kept.any():
        why = "; ".join(sorted(set(judgement.failures))[:3]) or "no judgement"
        return _failure(trial, f"{int((~usable).sum())} of {len(truth)} windows were not judged: {why}", judgement)
    values = judgement.values[:, usable]
    documents = np.array([w.document for w in trial.windows])[usable]
    control = values[1] if len(values) > 1 else None
    found = compare(values[0], control, kept, documents, seed=seed)
    return _columns(found) | {"trials": len(kept), "error": None, "details": _details(trial, judgement)}


def _columns(found: Comparison) -> dict[str, float | None]:
    names = {"value": found.value, "control": found.control, "difference": found.difference}
    columns: dict[str, float | None] = {}
    for name, estimate in names.items():
        first, lower, upper = (
            ("value", "lower", "upper") if name == "value" else (name, f"{name}_lower", f"{name}_upper")
        )
        columns |= {
            first: _number(estimate, "value"),
            lower: _number(estimate, "lower"),
            upper: _number(estimate, "upper"),
        }
    return columns


def _number(estimate: Estimate | None, name: str) -> float | None:
    number = getattr(estimate, name, None)
    return None if number is None or np.isnan(number) else float(number)


def _failure(trial: Trial, error: str, judgement: Judgement | None = None) -> dict[str, Any]:
    return _columns(Comparison(Estimate(np.nan, np.nan, np.nan), None, None)) | {
        "trials": 0,
        "error": error,
        "details": _details(trial, judgement),
    }


def _details(trial: Trial, judgement: Judgement | None) -> dict[str, Any]:
    """Each window with its truth and judgements, whose explanation the control was, and what went wrong."""
    details: dict[str, Any] = {"control": trial.control and trial.control.explanation, "windows": []}
    if judgement is not None:
        details["windows"] = [
            w.record() | {"truth": w.active, "judgement": _plain(row[0]), "control": _plain(row[-1])}
            for w, row in zip(trial.windows, judgement.values.T.tolist(), strict=True)
        ]
        details |= {"failures": len(judgement.failures), "reasons": sorted(set(judgement.failures))[:5]}
        details["remarks"] = judgement.remarks
    return details


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 5)


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
