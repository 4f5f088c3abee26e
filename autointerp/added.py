"""What a label adds over the best executable rule of its feature, by each scorer.

1. A row of `scores` keeps the windows that were judged, and the explanation's row the feature's best rule. The rule's own
   judgement of a window is how often it fires there, read in its document (a rule may look at what stands before).
2. AUROC of the label by that scorer, AUROC of the rule, and their paired difference, with bootstrap intervals over
   documents: columns `rule` and `added` of the row. Below 0, the list of words would have been the better label.
3. `lacewing added` fills them in for a score run and sums up by explainer and scorer.

Rows without a rule, without an AUROC of windows as they are (fuzzing judges marked tokens), or whose windows are of a
harvest that has been replaced have no such number, and are counted.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from autointerp.added_config import AddedConfig
from autointerp.auroc import compare
from autointerp.bootstrap import Comparison, estimate, weights
from autointerp.examples import Reader
from autointerp.index import index_of, places_of
from autointerp.rule import Rule
from data import runs
from data.errors import Mistake
from data.store import Workspace
from data.words import Estimate

COLUMNS = ("rule", "rule_lower", "rule_upper", "added", "added_lower", "added_upper")


@dataclass(frozen=True)
class Row:
    """A score with the explanation that it is of."""

    explanation: str
    scorer: str
    explainer: str
    dictionary: str
    latent: int
    rule: Rule | None
    windows: list[dict[str, Any]]


@dataclass(frozen=True)
class Added:
    """What the labels of an explainer add, by a scorer: over explanations, and how many have no such number."""

    explainer: str
    scorer: str
    label: Estimate
    rule: Estimate
    added: Estimate
    better: int
    worse: int
    trials: int
    without: int


def added(
    rule: Rule, reader: Reader, latent: int, windows: Sequence[dict[str, Any]], *, seed: int
) -> Comparison | None:
    """A label's AUROC (`value`), its rule's (`control`) and their difference on judged windows (`details.windows`).

    None where these are not windows of this harvest, or a kind of them has no judgement.
    """
    judged = [w for w in windows if w.get("judgement") is not None and {"document", "start", "length"} <= set(w)]
    truth = np.array([bool(w["truth"]) for w in judged], dtype=bool)
    if truth.all() or not truth.any():
        return None
    fired = _within(reader, _fired(reader, latent), judged)
    if fired is None or not np.array_equal(fired > 0, truth):
        return None
    said = _within(reader, places_of(rule, index_of(reader)), judged)
    assert said is not None
    values = np.array([float(w["judgement"]) for w in judged])
    documents = np.array([w["document"] for w in judged])
    return compare(values, said.astype(float), truth, documents, seed=seed)


def fill(workspace: Workspace, run: str, seed: int = 0) -> int:
    """Fills in the columns of the rows that score run `run` wrote; how many have them now."""
    reader = functools.cache(functools.partial(Reader, workspace))
    found = [(row, _of(row, reader, seed)) for row in _rows(workspace, run)]
    values = [[*_columns(comparison), row.explanation, row.scorer] for row, comparison in found]
    sets = ", ".join(f"{name} = ?" for name in COLUMNS)
    with workspace.write() as db:
        for each in values:
            db.execute(f"update scores set {sets} where explanation = ? and scorer = ?", each)
    return sum(comparison is not None for _, comparison in found)


def shown(workspace: Workspace, config: AddedConfig) -> str:
    """`lacewing added`: a line for each explainer and scorer of a score run."""
    run = runs.find(workspace, config.scores or _newest(workspace))
    if run["verb"] != "score":
        raise Mistake(f"Run {run['run']} is no score run (it is {run['verb']}). `lacewing runs` lists them.")
    fill(workspace, run["run"], config.seed)
    lines = [_line(one) for one in summed(workspace, run["run"], config.seed)]
    head = "explainer, scorer: AUROC of label and of rule, what the label adds (mean over features, 95 % interval)"
    return "\n".join([run["run"], head, *lines])


def summed(workspace: Workspace, run: str, seed: int = 0) -> list[Added]:
    """What labels add by explainer and scorer, from the columns; intervals are over features."""
    query = (
        "select explainer, scorer, s.value, s.rule, added, added_lower, added_upper "
        "from scores s join explanations using (explanation) where s.run = ? order by explainer, scorer, explanation"
    )
    with workspace.read() as db:
        rows = db.execute(query, [run]).fetchall()
    groups: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for explainer, scorer, *rest in rows:
        groups[explainer, scorer].append(tuple(rest))
    return [_summed(names, group, seed) for names, group in groups.items()]


def _summed(names: tuple[str, str], rows: Sequence[tuple[Any, ...]], seed: int) -> Added:
    known = np.array([row for row in rows if row[2] is not None], dtype=float).reshape(-1, 5)
    drawn = weights(np.arange(len(known)), seed)
    means = [estimate(drawn @ column / max(len(known), 1), len(known)) for column in known[:, :3].T]
    better, worse = int((known[:, 3] > 0).sum()), int((known[:, 4] < 0).sum())
    label, rule, more = means
    return Added(names[0], names[1], label, rule, more, better, worse, len(known), len(rows) - len(known))


def _line(one: Added) -> str:
    if not one.trials:
        return f"{one.explainer}, {one.scorer}: none of {one.without} scores can be compared with a rule"
    return (
        f"{one.explainer}, {one.scorer}: {one.label.value:.3f} and {one.rule.value:.3f}, {one.added.value:+.3f} "
        f"({one.added.lower:+.3f} to {one.added.upper:+.3f}); surely better {one.better}, surely worse {one.worse}, "
        f"of {one.trials}; without a number {one.without}"
    )


def _of(row: Row, reader: Callable[[str], Reader], seed: int) -> Comparison | None:
    if row.rule is None or not row.windows:
        return None
    return added(row.rule, reader(row.dictionary), row.latent, row.windows, seed=seed)


def _rows(workspace: Workspace, run: str) -> list[Row]:
    query = (
        "select explanation, scorer, explainer, dictionary, latent, e.rule, s.details->'windows' "
        "from scores s join explanations e using (explanation) where s.run = ?"
    )
    with workspace.read() as db:
        rows = db.execute(query, [run]).fetchall()
    return [
        Row(key, scorer, who, name, latent, Rule.of(json.loads(rule)) if rule else None, json.loads(windows or "[]"))
        for key, scorer, who, name, latent, rule, windows in rows
    ]


def _fired(reader: Reader, latent: int) -> Int[np.ndarray, " firings"]:
    firings = reader.firings(latent)
    return index_of(reader).places(firings.document, firings.position)


def _within(
    reader: Reader, places: Int[np.ndarray, " places"], windows: Sequence[dict[str, Any]]
) -> Int[np.ndarray, " windows"] | None:
    """How many of the sorted `places` are in each window; None when one is of a document that the harvest has not."""
    index = index_of(reader)
    documents = np.array([w["document"] for w in windows])
    if not np.isin(documents, index.documents).all():
        return None
    begin = index.at(documents, np.array([w["start"] for w in windows]))
    end = begin + np.array([w["length"] for w in windows])
    return np.searchsorted(places, end) - np.searchsorted(places, begin)


def _columns(found: Comparison | None) -> list[float | None]:
    estimates = [found.control, found.difference] if found else [None, None]
    return [_number(one, name) for one in estimates for name in ("value", "lower", "upper")]


def _number(found: Estimate | None, name: str) -> float | None:
    value = np.nan if found is None else getattr(found, name)
    return None if np.isnan(value) else float(value)


def _newest(workspace: Workspace) -> str:
    if not (found := runs.newest(workspace, "score")):
        raise Mistake("This workspace has no scores. Run `lacewing score` first.")
    return found
