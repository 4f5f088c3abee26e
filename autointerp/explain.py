"""Explains features: from activating windows to a sentence, or to the reason why there is none.

1. The features: the latents of a circuit, most important first, those named, or a sample of those that fire.
2. Each explainer (`explainers/`) gets them all, with windows of the harvest's `explain` half.
3. Each result becomes a row as soon as it is there, text or error, with the state that it ended in: dead, rare and dense
   features are counted, not left out. Beside it stands the best executable rule of the feature and what that is worth on
   the `score` half (`exact.py`), so that nobody need ask whether a sentence says more than a list of words.
4. Explainers that ask no endpoint can be done by other processes (`spread.py`); this one alone writes to the store.
5. An explanation's id is the digest of what it was made from, so that a run that was stopped goes on where it was, and
   equal work is not done twice.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from autointerp.cases import Case, Explained
from autointerp.config import ExplainConfig, has_endpoint
from autointerp.exact import best_rule, control_of, exactness
from autointerp.examples import Reader
from autointerp.records import (
    circuit_features,
    densities_of,
    explained_already,
    forget_failed,
    forget_stopped,
    sampled_features,
    states_of,
    statistics_of,
)
from autointerp.rule import Rule
from autointerp.spread import opened, spread
from autointerp.tools import Tools
from autointerp.watch import watch
from data import parts, runs
from data.errors import Mistake
from data.parts import Choice
from data.pool import Lost, Pool
from data.runs import Run
from data.store import Workspace, append
from data.words import Feature, digest

EXPLAINERS = "autointerp.explainers"
NO_RULE = ("dead", "too rare")
"""States of features that fire too little for a rule to mean anything."""


@dataclass(frozen=True)
class Explanations:
    """What an explain run made: ids in the order of the features, and how many of them have no text."""

    run: str
    explanations: tuple[str, ...]
    failed: int


@dataclass(frozen=True)
class Task:
    """One explanation that is wanted: a feature, and by whom."""

    case: Case
    explainer: Choice


def explain(workspace: Workspace, config: ExplainConfig, console: Console | None = None) -> Explanations:
    """Explains, or finds an equal run that is done. Raises `Mistake` for an absent feature, circuit or endpoint."""
    chosen = explainers_of(config)
    cases = cases_of(workspace, config)
    tasks = {identity(case, one, config): Task(case, one) for case in cases for one in chosen}
    inputs = {"explanations": list(tasks)}
    if not config.retry and (done := runs.finished(workspace, "explain", config, inputs)):
        return _result(workspace, done, list(tasks))
    with opened(config) as pool, begin(workspace, "explain", config, config.seed, inputs) as run:
        forget = forget_failed if config.retry else forget_stopped
        forget(workspace, list(tasks))
        missing = {key: task for key, task in tasks.items() if key not in explained_already(workspace, list(tasks))}
        for one in chosen:
            some = {key: task.case for key, task in missing.items() if task.explainer == one}
            _explain(one, some, config, run, pool, console)
        result = _result(workspace, run.run, list(tasks))
        run.summary |= {"explanations": list(tasks), "explained": len(tasks) - result.failed, "failed": result.failed}
        run.summary |= {"states": states_of(workspace, list(tasks))} | pool.summary
    return result


def begin(
    workspace: Workspace, verb: str, config: Any, seed: int, inputs: Mapping[str, Any]
) -> contextlib.AbstractContextManager[Run]:
    """The unfinished run of the same work, gone on with, or a new one."""
    if unfinished := runs.unfinished(workspace, verb, config, inputs):
        return runs.resume(workspace, unfinished)
    return runs.start(workspace, verb, config, seed=seed, inputs=inputs)


def explainers_of(config: ExplainConfig) -> list[Choice]:
    """The explainers and their settings; `auto` depends on whether the environment names an endpoint."""
    named = config.explainer if config.explainer != "auto" else "llm" if has_endpoint() else "local"
    return list({one.label: one for one in parts.choices(EXPLAINERS, named)}.values())


def features_of(workspace: Workspace, wanted: str, seed: int = 0) -> list[Feature]:
    """The features that `wanted` names; raises `Mistake` when there is no such circuit or nothing is named."""
    sort, _, name = wanted.partition(":")
    if sort == "circuit":
        return circuit_features(workspace, name)
    if sort == "sample":
        return sampled_features(workspace, name, seed)
    named = [Feature.parse(text.strip()) for text in wanted.split(",") if text.strip()]
    if not named:
        raise Mistake(
            "No feature is named. Give circuit, circuit:ID, sample, sample:DICTIONARY or "
            "DICTIONARY/LATENT,... with --features."
        )
    return list(dict.fromkeys(named))


def cases_of(workspace: Workspace, config: ExplainConfig) -> list[Case]:
    """The features that `config` names, each with its harvest and statistics. Raises `Mistake` for one that is absent."""
    features = features_of(workspace, config.features, config.seed)[: config.limit]
    reader = functools.cache(functools.partial(Reader, workspace))
    statistics = statistics_of(workspace, features)
    rest = (config.windows, config.seed, config.drawing)
    return [Case(f, reader(f.dictionary), statistics[f], *rest) for f in features]


def uses(explainer: Choice) -> set[str]:
    """What of the run's settings an explainer's answers depend on: `endpoint`, `judge`."""
    part: Any = parts.load(EXPLAINERS, explainer.name)
    return set(part.uses(explainer.options)) if hasattr(part, "uses") else set(getattr(part, "USES", ()))


def identity(case: Case, explainer: Choice, config: ExplainConfig) -> str:
    """The id of an explanation: a digest of its feature and of all that its text depends on."""
    recipe: dict[str, Any] = {"windows": config.windows, "seed": config.seed, "harvest": case.reader.harvest}
    recipe |= {"drawing": case.drawing.record()}
    part: Any = parts.load(EXPLAINERS, explainer.name)
    if (more := part.depends(case, explainer.options) if hasattr(part, "depends") else None) is not None:
        recipe |= {"more": more}
    used = uses(explainer)
    if "endpoint" in used:
        recipe |= {
            "url": os.environ.get("OPENAI_BASE_URL"),
            "model": config.llm_model or os.environ.get("OPENAI_MODEL"),
        }
    if "judge" in used:
        recipe |= {"judge": config.judge}
    return digest("explanation", str(case.feature), explainer.label, recipe)


def _explain(
    explainer: Choice, missing: Mapping[str, Case], config: ExplainConfig, run: Run, pool: Pool, console: Console | None
) -> None:
    keys = {case.feature: key for key, case in missing.items()}
    phase = f"explaining by {explainer.label}"
    with Tools.of(run, config) as tools, watch(run, phase, len(missing), console=console) as tools.advance:
        for made in _each(explainer, list(missing.values()), config, tools, pool):
            _store(run, keys[made.found.feature], made, explainer.label)


def _each(explainer: Choice, cases: Sequence[Case], config: ExplainConfig, tools: Tools, pool: Pool) -> Iterator[Made]:
    """An explanation of each case, by this process or by the pool's workers, as they are done."""
    if pool.here or "endpoint" in uses(explainer):
        yield from _made(explainer, cases, tools)
        return
    for case, made in spread(pool, Explaining(str(tools.workspace.folder), explainer, config), cases):
        yield Made(Explained(case.feature, error=f"lost: {made.reason}")) if isinstance(made, Lost) else made
        tools.advance()


@dataclass(frozen=True)
class Made:
    """An explanation, and the columns of the rule beside it."""

    found: Explained
    rule: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Explaining:
    """Makes what explains some features in a worker, with instruments that it keeps."""

    folder: str
    explainer: Choice
    config: ExplainConfig

    def __call__(self) -> Callable[[Sequence[Case]], list[Made]]:
        config = self.config
        tools = Tools(Workspace(Path(self.folder)), config.seed, config.judge, config, publishes=False)

        def several(cases: Sequence[Case]) -> list[Made]:
            with tools:
                made = {one.found.feature: one for one in _made(self.explainer, cases, tools)}
            return [made[case.feature] for case in cases]

        return several


def _made(explainer: Choice, cases: Sequence[Case], tools: Tools) -> Iterator[Made]:
    """Each explanation as its part gives it, with the rule of its feature."""
    cases = [replace(case) for case in cases]  # what another explainer drew is no part of this one's record
    known = {case.feature: case for case in cases}
    densities = functools.cache(functools.partial(densities_of, tools.workspace))
    for found in parts.load(EXPLAINERS, explainer.name).explain(cases, tools, explainer.options):
        case = known[found.feature]
        rule = _rule(case, found, densities(found.feature.dictionary), tools.seed)
        yield Made(replace(found, details=found.details | {"drawn": case.drawn}), rule)


def _rule(case: Case, found: Explained, densities: np.ndarray, seed: int) -> dict[str, Any]:
    """The columns that tell of the rule that the explanation is, or else of the feature's best; none when it has none."""
    if state_of(found) in NO_RULE:
        return {}
    own = found.details.get("rule")
    rule = Rule.of(own) if own else best_rule(case.reader, case.feature.latent)
    if rule is None:
        return {}
    other = control_of(case.feature.latent, densities, seed)
    worth = exactness(rule, case.reader, case.feature.latent, other=other, seed=seed)
    return {"rule": rule.record()} | worth.columns()


def state_of(found: Explained) -> str:
    """`explained`, or the beginning of the error: dead, too rare, too dense, nothing stands out, parse_failed ..."""
    return "explained" if found.error is None else found.error.partition(":")[0]


def _store(run: Run, key: str, made: Made, explainer: str) -> None:
    found = made.found
    feature = {"dictionary": found.feature.dictionary, "latent": found.feature.latent}
    row = {"explanation": key, **feature, "explainer": explainer, "text": found.text, "error": found.error}
    row |= {"state": state_of(found), "run": run.run, "details": found.details} | dict(made.rule)
    with run.workspace.write() as db:
        append(db, "explanations", [row])


def _result(workspace: Workspace, run: str, ids: Sequence[str]) -> Explanations:
    texts = explained_already(workspace, ids)
    return Explanations(run, tuple(ids), sum(texts[key] is None for key in ids))
