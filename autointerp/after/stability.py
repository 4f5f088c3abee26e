"""How much labels and scores depend on the draw: the same features explained again with other seeds.

1. `draws` explain runs with seeds that follow one another: other windows, and where the explainer samples, other answers.
   Equal runs that are done are found, not repeated.
2. Agreement of labels: the mean cosine between the labels that a feature got, against that between labels of different
   features (sentence vectors of anything are alike to a degree). And recognition: how often a label is nearer to the
   feature's label of another draw than to that draw's labels of all other features; chance is one in their number.
3. Agreement of scores: every draw's labels are scored on the same windows of the `score` half, so that they differ by the
   label alone. ICC(1,1) of Shrout and Fleiss 1979, (MSB - MSW) / (MSB + (k - 1) MSW), is the share of the variance of
   scores that is between features; beside it the mean Spearman correlation of pairs of draws. The null deals each draw's
   scores to other features.

Intervals are over features. A feature that was not explained in every draw is left out and counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.console import Console
from scipy.stats import rankdata

from autointerp.after import cosines
from autointerp.after.findings import Finding, means, store, text_of
from autointerp.after.judging import scorer_of
from autointerp.after.labels import of_run
from autointerp.after.stability_config import StabilityConfig
from autointerp.bootstrap import weights
from autointerp.config import ExplainConfig, ScoreConfig
from autointerp.explain import explain, features_of
from autointerp.records import Explanation
from autointerp.score import score
from autointerp.tools import Tools
from data import runs
from data.errors import Mistake
from data.store import Workspace
from data.words import Feature

FEWEST = 3
"""Features below which nothing can be said of agreement."""


def shown(workspace: Workspace, config: StabilityConfig) -> str:
    """`lacewing stability`: the findings as text, the run's id in the first line."""
    return text_of(workspace, stability(workspace, config))


def stability(workspace: Workspace, config: StabilityConfig, console: Console | None = None) -> str:
    """Explains and scores `draws` times and compares; the run's id.

    Raises `Mistake` as `explain` and `score` do, and when fewer than `FEWEST` features have a label in every draw.
    """
    scorer_of(config.scorer)
    made = [explain(workspace, one, console) for one in draws_of(workspace, config)]
    inputs = {"explanations": [one.explanations for one in made]}
    if done := runs.finished(workspace, "stability", config, inputs):
        return done
    labels = [{label.feature: label for label in of_run(workspace, one.run)} for one in made]
    kept = sorted(set.intersection(*(set(one) for one in labels)))
    if len(kept) < FEWEST:
        raise Mistake(
            f"{len(kept)} features have a label in all {config.draws} draws; agreement takes {FEWEST}. "
            f"Name more features with --features, or see why explaining fails with `lacewing sql`."
        )
    scored = [_scores(workspace, one.run, config, console) for one in made]
    with runs.start(workspace, "stability", config, seed=config.seed, inputs=inputs) as run:
        about = " ".join(one.run for one in made)
        lost = len({feature for one in made for feature in _features(workspace, one.explanations)}) - len(kept)
        with Tools.of(run, config) as tools:
            found = [*of_labels(about, [[one[f] for f in kept] for one in labels], tools, config.seed)]
        found += of_scores(about, kept, scored, config.seed)
        store(run, found)
        run.summary |= {"features": len(kept), "left_out": lost, "explain_runs": [one.run for one in made]}
    return run.run


def draws_of(workspace: Workspace, config: StabilityConfig) -> list[ExplainConfig]:
    """The explain runs: equal but for their seeds, and of the same features, also where a seed draws these."""
    features = ",".join(map(str, features_of(workspace, config.features, config.seed)[: config.limit]))
    shared: dict[str, Any] = {f.name: getattr(config, f.name) for f in fields(ExplainConfig)} | {"features": features}
    return [replace(ExplainConfig(**shared), seed=config.seed + draw) for draw in range(config.draws)]


def _features(workspace: Workspace, ids: Sequence[str]) -> list[Feature]:
    query = "select distinct dictionary, latent from explanations where list_contains(?, explanation)"
    with workspace.read() as db:
        return [Feature(*row) for row in db.execute(query, [list(ids)]).fetchall()]


def _scores(workspace: Workspace, run: str, config: StabilityConfig, console: Console | None) -> dict[Feature, float]:
    """The score of each feature's label of explain run `run`, where it has one."""
    shared = {f.name: getattr(config, f.name) for f in fields(ScoreConfig) if f.name.startswith(("llm", "max"))}
    settings = ScoreConfig(
        explanations=run, scorers=config.scorer, judge=config.judge, seed=config.seed, retry=config.retry, **shared
    )
    found = score(workspace, settings, console)
    query = "select dictionary, latent, value from scores join explanations using (explanation) where scores.run = ?"
    with workspace.read() as db:
        rows = db.execute(query, [found.run]).fetchall()
    return {Feature(dictionary, latent): value for dictionary, latent, value in rows if value is not None}


def of_labels(about: str, labels: Sequence[Sequence[Explanation]], tools: Tools, seed: int) -> list[Finding]:
    """Agreement of labels [draws, features], and recognition."""
    count = len(labels[0])
    vectors = np.stack([cosines.unit(tools.embedder([one.text for one in draw])) for draw in labels])
    same, other, right = np.zeros((3, count))
    pairs = list(itertools.permutations(range(len(labels)), 2))
    for one, two in pairs:
        alike = vectors[one] @ vectors[two].T
        own = np.diag(alike)
        rest = np.where(np.eye(count, dtype=bool), np.nan, alike)
        same += own
        other += np.nanmean(rest, 1)
        right += (own[:, None] > rest).sum(1) == count - 1
    drawn = weights(np.arange(count), seed)
    texts = [len({labels[draw][at].text for draw in range(len(labels))}) for at in range(count)]
    details = {"draws": len(labels), "different_labels": round(float(np.mean(texts)), 3)}
    chance = np.full(count, 1 / count)
    return [
        Finding.of(about, "cosine between labels of one feature", means(np.stack([same, other]) / len(pairs), drawn), count,
                   against="labels of different features", details=details),
        Finding.of(about, "share of labels recognised in another draw",
                   means(np.stack([right / len(pairs), chance]), drawn), count, against="chance", details=details),
    ]  # fmt: skip


def of_scores(
    about: str, kept: Sequence[Feature], scored: Sequence[Mapping[Feature, float]], seed: int
) -> list[Finding]:
    """Agreement of scores over draws: ICC(1,1) and Spearman, with a null that deals scores to other features."""
    features = [f for f in kept if all(f in one for one in scored)]
    names: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "ICC(1,1) of scores": icc,
        "Spearman correlation of scores": spearman,
    }
    if len(features) < FEWEST:
        error = f"{len(features)} features have a score in every draw; {FEWEST} are needed"
        return [Finding.none(about, name, error) for name in names]
    values = np.array([[one[f] for one in scored] for f in features])
    mixed = np.stack([np.random.default_rng([seed, at]).permutation(column) for at, column in enumerate(values.T)], 1)
    drawn = weights(np.arange(len(features)), seed)
    details = {"draws": len(scored), "unscored": len(kept) - len(features)}
    return [
        Finding.of(about, name, np.array([[of(some, weight) for weight in drawn] for some in (values, mixed)]),
                   len(features), against="scores dealt to other features", details=details)
        for name, of in names.items()
    ]  # fmt: skip


def icc(values: Float[np.ndarray, "features draws"], weight: Float[np.ndarray, " features"]) -> float:
    """ICC(1,1) (Shrout and Fleiss 1979, case 1), each feature counted `weight` times; NaN where nothing varies."""
    draws, count = values.shape[1], weight.sum()
    own = values.mean(1)
    between = draws * (weight * (own - weight @ own / count) ** 2).sum() / (count - 1)
    within = (weight * ((values - own[:, None]) ** 2).sum(1)).sum() / (count * (draws - 1))
    total = between + (draws - 1) * within
    return float((between - within) / total) if total > 0 else float("nan")


def spearman(values: Float[np.ndarray, "features draws"], weight: Float[np.ndarray, " features"]) -> float:
    """The mean rank correlation of pairs of draws, each feature counted `weight` times; NaN where one draw is constant."""
    rows = np.repeat(np.arange(len(values)), weight.astype(int))
    ranks = np.stack([rankdata(column) for column in values[rows].T])
    if (np.ptp(ranks, axis=1) == 0).any():
        return float("nan")
    found = np.corrcoef(ranks)
    return float(found[np.triu_indices(len(found), 1)].mean())
