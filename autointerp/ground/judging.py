"""Asks a scorer about whole ladders, and reads off what it makes of each rung.

1. A question is a planted feature's windows of the `score` half and the texts of all its rungs, put to the scorer as any
   question of a score run is.
2. The score of a rung is the AUROC of its judgements, or the scorer's own statistic; beside it the average precision at the
   natural rate, from random silent windows alone, and the mean verdict of judges that say yes or no.
3. `EXECUTED` is no scorer but the label itself, run on the windows: what a perfect reader of labels would score. It bounds
   what can be asked of a scorer on windows with noise.
4. Each answer becomes rows of `ground` at once, so that a run that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autointerp import measures
from autointerp.auroc import auroc
from autointerp.ground.corpus import Corpus
from autointerp.ground.ladder import Rung, Truth
from autointerp.ground.planted import Planted
from autointerp.judgements import Item, Judgement, Outcome, Question
from autointerp.windows import Window
from data.runs import Run
from data.store import append

EXECUTED = "executed"
COMMON = ("", "random")
"""Kinds of silent window that are drawn as they come."""
MISSING = 0.5
"""Share of items without a judgement from which a rung has no score."""


@dataclass(frozen=True)
class Rated:
    """A rung's text with what it is worth when it is run."""

    rung: Rung
    truth: Truth


@dataclass(frozen=True)
class Trial:
    """A planted feature: its ladder, its windows or why there are none, and the natural rate of active windows."""

    feature: Planted
    rungs: Sequence[Rated]
    windows: Sequence[Window]
    question: Question | None
    rate: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Value:
    """What a scorer makes of one rung."""

    value: float | None
    natural: float | None = None
    yes: float | None = None
    trials: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Asked:
    """What a scorer makes of a ladder; how often it failed, and what it remarks."""

    values: Sequence[Value]
    failures: int = 0
    remarks: Sequence[str] = field(default_factory=list)


def read(answer: Judgement | Outcome, windows: Sequence[Item], texts: int, rate: float | None = None) -> Asked:
    """The values of each of so many `texts` in a scorer's answer about `windows`, which are active at a natural `rate`."""
    if isinstance(answer, Outcome):
        return Asked(_statistics(answer, texts), len(answer.failures), list(answer.remarks))
    items: Sequence[Item] = windows if answer.items is None else answer.items
    truth = np.array([item.active for item in items], dtype=bool)
    common = truth | np.array([item.kind in COMMON for item in items], dtype=bool)
    natural = rate if answer.items is None else None
    values = [_value(row, truth, common, answer, natural) for row in answer.values]
    return Asked(values, len(answer.failures), list(answer.remarks))


def _statistics(answer: Outcome, texts: int) -> list[Value]:
    count = len(answer.documents)
    found = answer.statistic(np.ones((1, count)))[:, 0] if count else np.full(texts, np.nan)
    why = "; ".join(sorted(set(answer.failures))[:2]) or f"the {answer.measure} is not defined"
    return [Value(None, error=why) if np.isnan(v) else Value(float(v), trials=count) for v in found.tolist()]


def _value(row: np.ndarray, truth: np.ndarray, common: np.ndarray, answer: Judgement, rate: float | None) -> Value:
    kept = ~np.isnan(row)
    if kept.mean() <= MISSING or len(set(truth[kept].tolist())) < 2:
        why = "; ".join(sorted(set(answer.failures))[:2]) or "no judgement"
        return Value(None, error=f"{int((~kept).sum())} of {len(row)} items were not judged: {why}")
    yes = None if answer.threshold is None else float((row[kept] > answer.threshold).mean())
    natural = None if rate is None else _natural(row[kept & common], truth[kept & common], rate)
    return Value(auroc(row[kept], truth[kept]), natural, yes, int(kept.sum()))


def _natural(values: np.ndarray, truth: np.ndarray, rate: float) -> float | None:
    """Average precision at the natural rate; None without a silent window drawn as it came."""
    if truth.all():
        return None
    curve = measures.curve(values, truth, np.ones((1, len(truth))))
    return float(measures.average_precision(curve, rate)[0])


def executed(corpus: Corpus, trials: Sequence[Trial]) -> Iterator[Judgement]:
    """Each label run on the windows: 1 where it fires in one, else 0."""
    begin = dict(zip((p.number for p in corpus.passages), corpus.begin.tolist(), strict=True))
    for trial in trials:
        spans = [(begin[w.document] + w.start, begin[w.document] + w.start + len(w.ids)) for w in trial.windows]
        said = [[float(rated.rung.said[low:high].any()) for low, high in spans] for rated in trial.rungs]
        yield Judgement(np.array(said))


def keep(run: Run, method: str, trial: Trial, asked: Asked) -> None:
    """Writes a trial's rows, in one transaction."""
    rows = [_row(run, method, trial, rated, value) for rated, value in zip(trial.rungs, asked.values, strict=True)]
    with run.workspace.write() as db:
        append(db, "ground", rows)


def failed(trial: Trial, why: str) -> Asked:
    """The answer where nothing could be asked."""
    return Asked([Value(None, error=why)] * len(trial.rungs), 1)


def _row(run: Run, method: str, trial: Trial, rated: Rated, value: Value) -> dict[str, Any]:
    truth = rated.truth
    return {
        "run": run.run, "method": method, "kind": trial.feature.kind, "latent": trial.feature.latent,
        "rung": rated.rung.name, "text": rated.rung.text, "precision": truth.precision, "recall": truth.recall,
        "f1": truth.f1, "extent": truth.extent, "value": value.value, "natural_auprc": value.natural, "yes": value.yes,
        "trials": value.trials, "error": value.error,
    }  # fmt: skip


def done(run: Run) -> set[tuple[str, int]]:
    """Method and latent of the trials that `run` has rows of."""
    with run.workspace.read() as db:
        return set(db.execute("select distinct method, latent from ground where run = ?", [run.run]).fetchall())
