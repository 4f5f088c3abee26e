"""Explains features: from activating windows to a sentence, or to the reason why there is none.

1. The features: the latents of a circuit, most important first, or those named.
2. One explainer (`explainers/`) gets them all, with windows of the harvest's `explain` half.
3. Each result becomes a row as soon as it is there, text or error. An explanation's id is the digest of what it was made
   from, so that a run that was stopped goes on where it was, and equal work is not done twice.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from autointerp.cases import Case, Explained
from autointerp.config import ExplainConfig, has_endpoint
from autointerp.examples import Reader
from autointerp.records import circuit_features, explained_already, forget_failed, statistics_of
from autointerp.tools import Tools
from autointerp.watch import watch
from data import parts, runs
from data.errors import Mistake
from data.parts import Choice
from data.runs import Run
from data.store import Workspace, append
from data.words import Feature, digest

EXPLAINERS = "autointerp.explainers"


@dataclass(frozen=True)
class Explanations:
    """What an explain run made: ids in the order of the features, and how many of them have no text."""

    run: str
    explanations: tuple[str, ...]
    failed: int


def explain(workspace: Workspace, config: ExplainConfig, console: Console | None = None) -> Explanations:
    """Explains, or finds an equal run that is done. Raises `Mistake` for an absent feature, circuit or endpoint."""
    chosen = explainer_of(config)
    cases = _cases(workspace, config)
    ids = {_id(case, chosen, config): case for case in cases}
    inputs = {"explanations": list(ids)}
    if not config.retry and (done := runs.finished(workspace, "explain", config, inputs)):
        return _result(workspace, done, list(ids))
    with begin(workspace, "explain", config, config.seed, inputs) as run:
        if config.retry:
            forget_failed(workspace, list(ids))
        missing = {key: case for key, case in ids.items() if key not in explained_already(workspace, list(ids))}
        _explain(chosen, missing, config, run, console)
        result = _result(workspace, run.run, list(ids))
        run.summary |= {"explanations": list(ids), "explained": len(ids) - result.failed, "failed": result.failed}
    return result


def begin(
    workspace: Workspace, verb: str, config: Any, seed: int, inputs: Mapping[str, Any]
) -> contextlib.AbstractContextManager[Run]:
    """The unfinished run of the same work, gone on with, or a new one."""
    if unfinished := runs.unfinished(workspace, verb, config, inputs):
        return runs.resume(workspace, unfinished)
    return runs.start(workspace, verb, config, seed=seed, inputs=inputs)


def explainer_of(config: ExplainConfig) -> Choice:
    """The explainer and its settings; `auto` depends on whether the environment names an endpoint."""
    named = config.explainer if config.explainer != "auto" else "llm" if has_endpoint() else "local"
    found = parts.choices(EXPLAINERS, named)
    if len(found) > 1:
        raise Mistake(f"{named!r} names {len(found)} explainers; a run has one. Run `lacewing explain` for each.")
    return found[0]


def features_of(workspace: Workspace, wanted: str) -> list[Feature]:
    """The features that `wanted` names; raises `Mistake` when there is no such circuit or nothing is named."""
    if wanted == "circuit" or wanted.startswith("circuit:"):
        return circuit_features(workspace, wanted.partition(":")[2])
    named = [Feature.parse(text.strip()) for text in wanted.split(",") if text.strip()]
    if not named:
        raise Mistake("No feature is named. Give circuit, circuit:ID or DICTIONARY/LATENT,... with --features.")
    return list(dict.fromkeys(named))


def _cases(workspace: Workspace, config: ExplainConfig) -> list[Case]:
    features = features_of(workspace, config.features)[: config.limit]
    reader = functools.cache(functools.partial(Reader, workspace))
    statistics = statistics_of(workspace, features)
    return [Case(f, reader(f.dictionary), statistics[f], config.windows, config.seed) for f in features]


def _id(case: Case, explainer: Choice, config: ExplainConfig) -> str:
    recipe: dict[str, Any] = {"windows": config.windows, "seed": config.seed, "harvest": case.reader.harvest}
    if explainer.name == "llm":
        recipe |= {
            "url": os.environ.get("OPENAI_BASE_URL"),
            "model": config.llm_model or os.environ.get("OPENAI_MODEL"),
        }
    if explainer.name == "local":
        recipe |= {"judge": config.judge}
    return digest("explanation", str(case.feature), explainer.label, recipe)


def _explain(
    explainer: Choice, missing: Mapping[str, Case], config: ExplainConfig, run: Run, console: Console | None
) -> None:
    keys = {case.feature: key for key, case in missing.items()}
    part = parts.load(EXPLAINERS, explainer.name)
    with Tools.of(run, config) as tools, watch(run, "explaining", len(missing), console=console) as tools.advance:
        for found in part.explain(list(missing.values()), tools, explainer.options):
            _store(run, keys[found.feature], found, explainer.label)


def _store(run: Run, key: str, found: Explained, explainer: str) -> None:
    feature = {"dictionary": found.feature.dictionary, "latent": found.feature.latent}
    row = {"explanation": key, **feature, "explainer": explainer, "text": found.text, "error": found.error}
    with run.workspace.write() as db:
        append(db, "explanations", [row | {"run": run.run, "details": found.details}])


def _result(workspace: Workspace, run: str, ids: Sequence[str]) -> Explanations:
    texts = explained_already(workspace, ids)
    return Explanations(run, tuple(ids), sum(texts[key] is None for key in ids))
