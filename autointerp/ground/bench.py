"""`lacewing bench-autointerp`: what each explainer and scorer makes of features whose rules are known.

1. Features are planted in held-out text (`planted.py`) and written as a harvest in a temporary workspace (`harvest.py`).
2. Each scorer judges each feature's ladder (`ladder.py`, `judging.py`), each explainer explains it (`explaining.py`),
   exactly as in a run on a real dictionary. Rows go to `ground` as they come: a run that was stopped goes on.
3. What they come to goes to `bench` (`results.py`), with functions and puzzles beside it (`functions.py`, `puzzles.py`).

Nothing is tuned on these features; a method that fails is shown to fail.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from autointerp.bench_config import BenchAutointerpConfig
from autointerp.cases import Case
from autointerp.drawing import Drawing
from autointerp.examples import Reader, TooFew, judged
from autointerp.explain import begin
from autointerp.ground import functions, puzzles
from autointerp.ground.corpus import Corpus, corpus
from autointerp.ground.explaining import EXPLAINERS, explain
from autointerp.ground.harvest import DICTIONARY, harvest
from autointerp.ground.judging import EXECUTED, Rated, Trial, done, executed, failed, keep, read
from autointerp.ground.ladder import ladder, truth
from autointerp.ground.planted import Planted, Planting, planted
from autointerp.ground.results import store
from autointerp.ground.tables import tables
from autointerp.judgements import Question
from autointerp.llm_config import has_endpoint
from autointerp.records import statistics_of
from autointerp.tools import Tools
from autointerp.trials import natural_rate
from autointerp.watch import watch
from autointerp.windows import Window
from data import parts, runs
from data.errors import Mistake
from data.parts import Choice
from data.runs import Run
from data.store import Workspace
from data.texts import text_digest
from data.words import Feature, digest

SCORERS = "autointerp.scorers"
STRANGERS = 20


@dataclass(frozen=True)
class Setting:
    """A run's text, planted features, trials and cases."""

    corpus: Corpus
    planting: Planting
    trials: Sequence[Trial]
    cases: Sequence[Case]


def shown(workspace: Workspace, config: BenchAutointerpConfig) -> str:
    """Runs the bench, or finds an equal run that is done, and returns its tables."""
    return tables(workspace, bench(workspace, config))


def bench(workspace: Workspace, config: BenchAutointerpConfig, console: Console | None = None) -> str:
    """Runs the bench, or finds an equal run that is done; returns the run. Raises `Mistake` for what cannot be asked."""
    config = config.effective
    if config.dry_run:
        raise Mistake(
            "`lacewing bench-autointerp` cannot be done dry: bound it with --llm-requests or --max-usd instead."
        )
    scorers, explainers = scorers_of(config.scorers), parts.choices(EXPLAINERS, config.explainers)
    inputs = {"text": text_digest(config.text), "endpoint": _endpoint()}
    if found := runs.finished(workspace, "bench-autointerp", config, inputs):
        return found
    text = corpus(config.text, config.tokens)
    planting = planted(text, config.kinds, config.features, config.seed)
    with begin(workspace, "bench-autointerp", asdict(config), config.seed, inputs) as run:
        run.summary |= {"features": len(planting.features), "tokens": text.tokens, "left_out": list(planting.left_out)}
        with tempfile.TemporaryDirectory(prefix="lacewing-ground-") as folder, Tools.of(run, config) as tools:
            setting = prepare(Path(folder), text, planting, config)
            _score(run, scorers, setting, tools, console)
            _explain(run, explainers, setting, tools, console)
            if config.others:
                functions.measure(run, tools, config, console)
                puzzles.measure(run, scorers, tools, console)
        store(run, config.seed)
    return run.run


def _endpoint() -> str | None:
    """What the endpoint is known by; its address may hold what nobody should read."""
    return digest("endpoint", *map(os.environ.get, ("OPENAI_BASE_URL", "OPENAI_MODEL"))) if has_endpoint() else None


def scorers_of(text: str) -> list[Choice]:
    """The scorers that `text` names; raises `Mistake` for one that needs the model, for planted features have none."""
    chosen = parts.choices(SCORERS, text)
    for one in chosen:
        if not getattr(parts.load(SCORERS, one.name), "CALIBRATED", False):
            able = [n for n in parts.names(SCORERS) if getattr(parts.load(SCORERS, n), "CALIBRATED", False)]
            raise Mistake(
                f"The scorer {one.name!r} runs the model that a dictionary is of, and planted features have no model. "
                f"Name others with --scorers: {', '.join(able)}."
            )
    return list({one.label: one for one in chosen}.values())


def prepare(folder: Path, text: Corpus, planting: Planting, config: BenchAutointerpConfig) -> Setting:
    """Plants the features in a workspace of their own in `folder`, and draws each one's ladder and windows."""
    workspace = Workspace.open(folder / "planted", create=True)
    harvest(workspace, text, planting.features, noise=config.noise, seed=config.seed)
    reader = Reader(workspace, DICTIONARY)
    statistics = statistics_of(workspace, [Feature(DICTIONARY, f.latent) for f in planting.features])
    cases = [Case(feature, reader, found, 16, config.seed) for feature, found in statistics.items()]
    trials = [_trial(text, reader, feature, config) for feature in planting.features]
    return Setting(text, planting, [_with_strangers(one, trials) for one in trials], cases)


def _trial(text: Corpus, reader: Reader, feature: Planted, config: BenchAutointerpConfig) -> Trial:
    rungs = [Rated(rung, truth(text, feature.rule, rung.said)) for rung in ladder(text, feature)]
    drawing = Drawing(config.context, negatives=config.negatives)
    try:
        windows = list(judged(reader, feature.latent, "score", config.windows, config.seed, drawing))
    except TooFew as reason:
        return Trial(feature, rungs, [], None, problem=str(reason))
    rate = natural_rate(reader, feature.latent, "score", max(len(window.ids) for window in windows))
    texts = tuple(rated.rung.text for rated in rungs)
    return Trial(feature, rungs, windows, Question(texts, windows, Feature(DICTIONARY, feature.latent), reader), rate)


def _with_strangers(trial: Trial, trials: Sequence[Trial]) -> Trial:
    """The trial with an active window of each of some other features, for scorers whose control needs no text."""
    others = [next((w for w in other.windows if w.active), None) for other in trials if other is not trial]
    windows: list[Window] = [window for window in others if window][:STRANGERS]
    return replace(trial, question=replace(trial.question, strangers=windows)) if trial.question else trial


def _score(run: Run, scorers: Sequence[Choice], setting: Setting, tools: Tools, console: Console | None) -> None:
    known = done(run)
    waiting = [trial for trial in setting.trials if (EXECUTED, trial.feature.latent) not in known and trial.question]
    for trial, answer in zip(waiting, executed(setting.corpus, waiting), strict=True):
        keep(run, EXECUTED, trial, read(answer, trial.windows, len(trial.rungs), trial.rate))
    for scorer in scorers:
        left = [trial for trial in setting.trials if (scorer.label, trial.feature.latent) not in known]
        with watch(run, f"scoring by {scorer.label}", len(left), console=console) as tools.advance:
            _ask(run, scorer, left, tools)


def _ask(run: Run, scorer: Choice, trials: Sequence[Trial], tools: Tools) -> None:
    for trial in trials:
        if trial.question is None:
            keep(run, scorer.label, trial, failed(trial, trial.problem))
            tools.advance()
    ready = {trial.feature.latent: trial for trial in trials if trial.question}
    questions: list[Any] = [trial.question for trial in ready.values()]
    answers = parts.load(SCORERS, scorer.name).judge(questions, tools, scorer.options) if ready else ()
    remarks: dict[str, int] = run.summary.setdefault("remarks", {}).setdefault(scorer.label, {})
    for trial, answer in zip(ready.values(), answers, strict=True):
        asked = read(answer, trial.windows, len(trial.rungs), trial.rate)
        keep(run, scorer.label, trial, asked)
        for remark in asked.remarks:
            remarks[remark] = remarks.get(remark, 0) + 1


def _explain(run: Run, explainers: Sequence[Choice], setting: Setting, tools: Tools, console: Console | None) -> None:
    with run.workspace.read() as db:
        known = db.execute("select distinct method from ground_explained where run = ?", [run.run]).fetchall()
    features = {feature.latent: feature for feature in setting.planting.features}
    for explainer in explainers:
        if (explainer.label,) not in known:
            phase = f"explaining by {explainer.label}"
            with watch(run, phase, len(setting.cases), console=console) as tools.advance:
                explain(run, explainer, setting.cases, features, setting.corpus, tools)
