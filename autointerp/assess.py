"""From what a scorer found to the columns of a row of `scores`.

1. A `Judgement` becomes an AUROC, an `Outcome` its own statistic; either with control, paired difference and bootstrap
   intervals over documents (`bootstrap.py`).
2. A judgement also says what it is worth as a classifier at the natural rate (`measures.py`), and its AUROC is split by
   quantile of strength (those active windows against all silent ones) and by kind of silent window.
3. What was not judged is left out and counted by its state; with more than half of it missing, or one kind of window gone,
   there is no score but an error.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any

import numpy as np

from autointerp import measures
from autointerp.auroc import parted, weighted_auroc
from autointerp.bootstrap import Comparison, clusters, compared, weights
from autointerp.examples import Drawn
from autointerp.judgements import Item, Judgement, Outcome
from autointerp.trials import Trial
from data.words import Estimate

CHANCE = 0.5
ALONE = "no control: no other feature has an explanation that says something else"
COMMON = ("", "random")
"""Kinds of silent window that are drawn as they come."""
NOTHING = Estimate(np.nan, np.nan, np.nan)
RATED: tuple[str, ...] = ("natural_precision", "natural_f1", "natural_auprc", "balanced_accuracy")


@dataclass(frozen=True)
class Sample:
    """Items that have a judgement: what is true of them, and how often each counts in each draw."""

    values: np.ndarray
    """[texts, items]"""
    truth: np.ndarray
    documents: np.ndarray
    kinds: np.ndarray
    quantiles: np.ndarray
    drawn: np.ndarray
    """[draws, items]"""

    @classmethod
    def of(cls, values: np.ndarray, items: list[Item], seed: int) -> Sample:
        documents = np.array([i.document for i in items])
        columns = [np.array([getattr(i, name) for i in items]) for name in ("active", "kind", "quantile")]
        return cls(values, columns[0].astype(bool), documents, columns[1], columns[2], weights(documents, seed))

    def among(self, which: np.ndarray) -> Sample:
        """Those `which`."""
        names = ("truth", "documents", "kinds", "quantiles")
        rest = {name: getattr(self, name)[which] for name in names}
        return Sample(self.values[:, which], drawn=self.drawn[:, which], **rest)

    @property
    def draws(self) -> np.ndarray:
        """The AUROC of each text in each draw [texts, draws]."""
        return np.stack([weighted_auroc(row, self.truth, self.drawn) for row in self.values])

    @property
    def compared(self) -> Comparison:
        """The AUROC of each text."""
        return parted(compared(self.draws, self.clusters), self.truth, self.documents)

    @property
    def clusters(self) -> int:
        """How many documents they are of."""
        return clusters(self.documents)


def assess(trial: Trial, answer: Judgement | Outcome, seed: int) -> dict[str, Any]:
    """The columns of a row of `scores`: value, control and difference with all that goes with them, or the error."""
    columns = _outcome(trial, answer, seed) if isinstance(answer, Outcome) else _judgement(trial, answer, seed)
    return columns | {
        "failures": len(answer.failures),
        "agreement": _plain(answer.agreement),
        "degenerate": answer.degenerate,
        "tokens_in": answer.usage.get("in"),
        "tokens_out": answer.usage.get("out"),
    }


def failure(trial: Trial, error: str, answer: Judgement | Outcome | None = None) -> dict[str, Any]:
    """The columns of a row that has no score."""
    empty = _columns(Comparison(NOTHING, None, None)) | _spread(dict.fromkeys(RATED, NOTHING))
    details = _details(trial, answer)
    return empty | {"trials": 0, "error": error, "details": details, "failures": 0, "natural_rate": trial.rate}


def usable(judgement: Judgement) -> np.ndarray:
    """Which items have a judgement of every text."""
    return np.asarray(~np.isnan(judgement.values).any(0))


def _judgement(trial: Trial, judgement: Judgement, seed: int) -> dict[str, Any]:
    items, kept = _items(trial, judgement), usable(judgement)
    left = [item for item, ok in zip(items, kept, strict=True) if ok]
    if len(left) * 2 <= len(items) or len({item.active for item in left}) < 2:
        what = "windows" if judgement.items is None else "items"
        error = f"{len(items) - len(left)} of {len(items)} {what} were not judged: {_why(judgement)}"
        return failure(trial, error, judgement)
    sample = Sample.of(judgement.values[:, kept], left, seed)
    rate = trial.rate if judgement.items is None else None
    said = measures.verdicts(sample.values[0], sample.truth, sample.documents, judgement.threshold, seed)
    details = _details(trial, judgement) | {
        "threshold": said.threshold,
        "balanced_f1": _record(
            measures.rated(lambda r, f: measures.f1(r, f, 0.5), said.said, sample.truth, sample.drawn, sample.clusters)
        ),
        "quantiles": _by_quantile(sample),
        "kinds": _by_kind(sample),
    }
    columns = {"statistic": "auroc", "chance": CHANCE, "natural_rate": rate, "trials": int(kept.sum()), "error": None}
    found = _rates(sample, said.said, rate, details)
    return columns | _columns(sample.compared) | _spread(found) | {"details": details}


def _items(trial: Trial, judgement: Judgement) -> list[Item]:
    return list(trial.windows if judgement.items is None else judgement.items)


def _rates(sample: Sample, said: np.ndarray, rate: float | None, details: dict[str, Any]) -> dict[str, Estimate]:
    """What the verdicts are worth; at the natural rate only where there is one and random windows to see false yes in."""
    found: dict[str, Estimate] = dict.fromkeys(RATED, NOTHING)
    found["balanced_accuracy"] = measures.rated(
        measures.balanced_accuracy, said, sample.truth, sample.drawn, sample.clusters
    )
    common = sample.truth | np.isin(sample.kinds, COMMON)
    if rate is None or common.sum() == sample.truth.sum():
        return found
    some = sample.among(common)
    yes, truth, drawn, drawn_from = said[common], some.truth, some.drawn, some.clusters
    found["natural_precision"] = measures.rated(
        lambda r, f: measures.precision(r, f, rate), yes, truth, drawn, drawn_from
    )
    found["natural_f1"] = measures.rated(lambda r, f: measures.f1(r, f, rate), yes, truth, drawn, drawn_from)
    found["natural_auprc"] = measures.auprc(some.values[0], truth, drawn, drawn_from, rate)
    recall, fallout = (float(measures.share(yes, among, drawn[:1])[0]) for among in (truth, ~truth))
    details["rates"] = {
        "recall": _plain(recall), "fallout": _plain(fallout), "active": int(truth.sum()), "silent": int((~truth).sum()),
        "prevalence": _plain(rate * recall + (1 - rate) * fallout),
    }  # fmt: skip
    return found


def _by_quantile(sample: Sample) -> list[dict[str, Any]]:
    """The AUROC of each quantile's active windows against all silent ones."""
    names = sorted(set(sample.quantiles[sample.truth].tolist()) - {-1})
    return [{"quantile": q} | _part(sample, ~sample.truth | (sample.quantiles == q)) for q in names]


def _by_kind(sample: Sample) -> list[dict[str, Any]]:
    """The AUROC of all active windows against each kind of silent ones."""
    names = sorted(set(sample.kinds[~sample.truth].tolist()) - {""})
    return [{"kind": kind} | _part(sample, sample.truth | (sample.kinds == kind)) for kind in names]


def _part(sample: Sample, which: np.ndarray) -> dict[str, Any]:
    part = sample.among(which)
    found = {name: value for name, value in _columns(part.compared).items() if value is not None}
    return {name: round(value, 5) for name, value in found.items()} | {
        "active": int(part.truth.sum()),
        "silent": int((~part.truth).sum()),
    }


def _outcome(trial: Trial, outcome: Outcome, seed: int) -> dict[str, Any]:
    if not len(outcome.documents):
        return failure(trial, f"nothing was judged: {_why(outcome)}", outcome)
    found = compared(outcome.statistic(weights(outcome.documents, seed)), clusters(outcome.documents))
    if np.isnan(found.value.value):
        return failure(trial, f"the {outcome.measure} is not defined: {_why(outcome)}", outcome)
    columns = {"statistic": outcome.measure, "chance": outcome.chance, "natural_rate": trial.rate, "error": None}
    details = _details(trial, outcome) | outcome.details
    return columns | _columns(found) | {"trials": len(outcome.documents), "details": details}


def _why(answer: Judgement | Outcome) -> str:
    return "; ".join(sorted(set(answer.failures or answer.remarks))[:3]) or "no judgement"


def _columns(found: Comparison) -> dict[str, float | None]:
    control, difference = found.control or NOTHING, found.difference or NOTHING
    value = {"value": _plain(found.value.value), "lower": _plain(found.value.lower), "upper": _plain(found.value.upper)}
    return value | _spread({"control": control, "difference": difference})


def _spread(estimates: dict[str, Estimate]) -> dict[str, float | None]:
    """An estimate as three columns."""
    columns: dict[str, float | None] = {}
    for name, found in estimates.items():
        names = (name, f"{name}_lower", f"{name}_upper")
        columns |= dict(zip(names, map(_plain, (found.value, found.lower, found.upper)), strict=True))
    return columns


def _record(found: Estimate) -> dict[str, float | None]:
    return {"value": _plain(found.value), "lower": _plain(found.lower), "upper": _plain(found.upper)}


def _details(trial: Trial, answer: Judgement | Outcome | None) -> dict[str, Any]:
    """Each window with its truth and judgements, whose explanation the control was, and what went wrong."""
    details: dict[str, Any] = {
        "control": trial.control and trial.control.explanation,
        "swap": trial.swap,
        "drawn": trial.windows.record() if isinstance(trial.windows, Drawn) else {},
        "windows": [],
    }
    if answer is None:
        return details
    if isinstance(answer, Judgement):
        rows = zip(_items(trial, answer), answer.values.T.tolist(), strict=True)
        details["windows"] = [_window(item, row) for item, row in rows]
    states = collections.Counter(reason.split(":")[0] for reason in answer.failures)
    details |= {"failures": len(answer.failures), "reasons": sorted(set(answer.failures))[:5], "states": dict(states)}
    alone = [] if trial.control else [ALONE]
    return details | {"remarks": [*answer.remarks, *alone], **answer.details}


def _window(item: Item, row: list[float]) -> dict[str, Any]:
    kind = {"kind": item.kind} | ({"quantile": item.quantile} if item.quantile >= 0 else {})
    return item.record() | kind | {"truth": item.active, "judgement": _short(row[0]), "control": _short(row[-1])}


def _short(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 5)


def _plain(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
