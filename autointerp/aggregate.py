"""What a score run found, over all its features.

1. For each scorer the mean of value and of difference, with a bootstrap interval over features: once with every feature
   counting alike, once weighted by how often the feature fires (a dictionary is met in text as often as its features
   fire; the two can differ much, since frequent features tend to be vague).
2. Explanations on which scorers contradict each other: one difference is surely above 0, another surely below (the view
   `contested`).
3. Agreement beyond chance (Cohen's kappa 1960) of every two judges that said yes or no to the same windows.
4. What was asked: tokens, failures by state, judges that hardly judged.
"""

from __future__ import annotations

import collections
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from autointerp.bootstrap import RESAMPLES, estimate
from autointerp.verdicts import kappa
from data.store import Workspace
from data.words import Estimate

MANY = 20_000
"""Features above which fewer resamples are drawn."""
COMPARED = 300
"""Explanations by whose windows judges are compared."""
QUERY = """
    select s.scorer, s.explanation, s.value, s.difference, s.error, s.degenerate, s.tokens_in, s.tokens_out, s.failures,
        coalesce(f.density, 0) as density
    from scores s join explanations e using (explanation)
        left join features f on f.dictionary = e.dictionary and f.latent = e.latent
    where s.run = ? order by s.scorer, s.explanation
"""


@dataclass(frozen=True)
class Row:
    """What is read of a row of `scores`, and how often its feature fires."""

    scorer: str
    explanation: str
    value: float | None
    difference: float | None
    error: str | None
    degenerate: bool | None
    tokens_in: int | None
    tokens_out: int | None
    failures: int | None
    density: float


def aggregate(workspace: Workspace, run: str) -> dict[str, Any]:
    """The summary of score run `run`, as JSON."""
    with workspace.read() as db:
        rows = [Row(*row) for row in db.execute(QUERY, [run]).fetchall()]
        contested = db.execute(
            "select explanation from contested where explanation in (select explanation from scores where run = ?) "
            "order by explanation",
            [run],
        ).fetchall()
    grouped: dict[str, list[Row]] = collections.defaultdict(list)
    for row in rows:
        grouped[row.scorer].append(row)
    return {
        "scorers": {name: _scorer(some) for name, some in grouped.items()},
        "contested": [name for (name,) in contested],
        "kappa": kappas(workspace, run),
    }


def _scorer(rows: Sequence[Row]) -> dict[str, Any]:
    scored = [row for row in rows if row.error is None]
    tokens = [row.tokens_in + (row.tokens_out or 0) for row in scored if row.tokens_in is not None]
    return {
        "scored": len(scored),
        "failed": len(rows) - len(scored),
        "failures": sum(row.failures or 0 for row in rows),
        "degenerate": sum(bool(row.degenerate) for row in rows),
        "tokens": round(float(np.mean(tokens)), 1) if tokens else None,
        "value": _means([(row.value, row.density) for row in scored]),
        "difference": _means([(row.difference, row.density) for row in scored]),
    }


def _means(pairs: Sequence[tuple[float | None, float]]) -> dict[str, Any]:
    """The mean with every feature alike, and weighted by frequency; each with its interval."""
    known = np.array([(value, weight) for value, weight in pairs if value is not None], dtype=float).reshape(-1, 2)
    if not len(known):
        return {}
    weighted = mean(known[:, 0], known[:, 1]) if known[:, 1].sum() > 0 else None
    found = {"uniform": mean(known[:, 0], np.ones(len(known))), "by_frequency": weighted}
    return {name: [round(e.value, 4), round(e.lower, 4), round(e.upper, 4)] for name, e in found.items() if e}


def mean(values: Float[np.ndarray, " features"], weights: Float[np.ndarray, " features"]) -> Estimate:
    """The weighted mean, with features drawn with replacement (seed 0)."""
    draw, count = np.random.default_rng(0), len(values)
    drawn = [weights * values, weights]
    totals = [[float(column.sum()) for column in drawn]]
    for _ in range(RESAMPLES if count <= MANY else RESAMPLES // 5):
        times = np.bincount(draw.integers(count, size=count), minlength=count)
        totals.append([float(times @ column) for column in drawn])
    top, bottom = np.array(totals).T
    return estimate(np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0), count)


def kappas(workspace: Workspace, run: str) -> dict[str, float]:
    """Cohen's kappa of every two judges of yes and no, over the windows that both judged."""
    query = """select scorer, explanation, details from scores where run = ? and error is null and statistic = 'auroc'
        and explanation in (select distinct explanation from scores where run = ? order by explanation limit ?)"""
    with workspace.read() as db:
        rows = db.execute(query, [run, run, COMPARED]).fetchall()
    said: dict[str, dict[Any, bool]] = collections.defaultdict(dict)
    for scorer, explanation, text in rows:
        details = json.loads(text)
        if "asked" in details and not any("marks" in w for w in details["windows"]):
            said[scorer] |= _said(explanation, details["windows"])
    found = {f"{a} | {b}": _kappa(said[a], said[b]) for a, b in itertools.combinations(sorted(said), 2)}
    return {pair: round(number, 4) for pair, number in found.items() if number is not None}


def _said(explanation: str, windows: Sequence[Mapping[str, Any]]) -> dict[Any, bool]:
    judged = (w for w in windows if w["judgement"] is not None)
    return {(explanation, w["document"], w["start"]): w["judgement"] > 0.5 for w in judged}


def _kappa(one: Mapping[Any, bool], other: Mapping[Any, bool]) -> float | None:
    both = sorted(one.keys() & other.keys())
    return kappa(np.array([one[k] for k in both]), np.array([other[k] for k in both])) if both else None
