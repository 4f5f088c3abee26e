"""What `explain` and `score` would ask of a language model, before anything is sent: their `--dry-run`.

1. The features, windows and questions are those of the run itself, and so are the parts that ask; only the client answers
   from the ledger or, where it has nothing, with an example of what the schema allows (`llm.Client`, `prices.Forecast`).
2. Parts that ask no endpoint are left out: they cost nothing.
3. What a part would ask after seeing an answer depends on it, so a forecast of such a part is a guess.

Nothing is written: no run, no row, no line of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console

from autointerp import calibration, explain, score
from autointerp.config import ExplainConfig, ScoreConfig
from autointerp.explain import Explanations
from autointerp.llm_config import LlmConfig
from autointerp.records import explained_already, explanations_of, stopped_already
from autointerp.score import Scores
from autointerp.tools import Tools
from autointerp.trials import Trials
from data import parts
from data.parts import Choice
from data.store import Workspace


def explain_or_forecast(
    workspace: Workspace, config: ExplainConfig, console: Console | None = None
) -> Explanations | str:
    """Explains; with `dry_run` only says what it would ask."""
    if not config.dry_run:
        return explain.explain(workspace, config, console)
    workspace = Workspace.open(workspace.folder)
    asking = [one for one in explain.explainers_of(config) if "endpoint" in explain.uses(one)]
    if not asking:
        return f"No request would be sent: {config.explainer} asks no endpoint."
    with _tools(workspace, config) as tools:
        for one in asking:
            cases = {explain.identity(case, one, config): case for case in explain.cases_of(workspace, config)}
            done, stopped = explained_already(workspace, list(cases)), stopped_already(workspace, list(cases))
            again = {key for key, text in done.items() if text is None} if config.retry else stopped
            missing = [case for key, case in cases.items() if key not in done or key in again]
            _exhaust(parts.load(explain.EXPLAINERS, one.name).explain(missing, tools, one.options))
        return str(tools.client.forecast)


def score_or_forecast(workspace: Workspace, config: ScoreConfig, console: Console | None = None) -> Scores | str:
    """Scores; with `dry_run` only says what it would ask."""
    if not config.dry_run:
        return score.score(workspace, config, console)
    workspace = Workspace.open(workspace.folder)
    asking = [one for one in score.scorers_of(config) if parts.load(score.SCORERS, one.name).NEEDS_ENDPOINT]
    if not asking:
        return f"No request would be sent: {config.scorers} asks no endpoint."
    prepared = Trials(workspace, explanations_of(workspace, config.explanations), config)
    with _tools(workspace, config) as tools:
        for one in asking:
            _rehearse(one, prepared, tools, calibrate=config.calibrate)
        return str(tools.client.forecast)


def _rehearse(scorer: Choice, prepared: Trials, tools: Tools, *, calibrate: bool) -> None:
    """Asks what a score run would: about planted features, if its judge has not been, and about the trials."""
    part: Any = parts.load(score.SCORERS, scorer.name)
    planted = calibrate and getattr(part, "CALIBRATED", False)
    known = bool(calibration.find(tools.workspace, scorer.label, tools.client.endpoint.model))
    for block in prepared.blocks({one.explanation for one in prepared.explanations}):
        ready = [trial for trial in block if not trial.problem]
        reader = next((trial.reader for trial in ready), None)
        if planted and reader and not known:
            _exhaust(part.judge(calibration.planted(reader, tools.seed), tools, scorer.options))
            known = True
        _exhaust(part.judge([trial.question for trial in ready], tools, scorer.options))


def _tools(workspace: Workspace, config: LlmConfig) -> Tools:
    settings: Any = config
    return Tools(workspace, settings.seed, settings.judge, config)


def _exhaust(results: Iterable[object]) -> None:
    for _ in results:
        pass
