"""A person's label is scored in seconds, and shown where it would go wrong.

1. It is judged on the windows of the `score` half that `lacewing score` drew: what local models said of them is kept
   (`memo.py`), so that only what is new about the label is computed.
2. On the same windows stand the label that the feature has at present, with the paired difference, and another feature's
   label as a control.
3. Its false positives and misses: windows on the wrong side of a threshold that was chosen on other documents
   (`measures.verdicts`), the worst first.
4. `lacewing relabel` stores the label in `labels`, as an explanation by `human` with its scores, and the comparison with
   the label before as findings; `judge` stores nothing, for a form that is being typed in.

A label that is tried again and again on the same windows learns them by heart: the last of many tries is flattered. Another
seed draws other windows.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autointerp import measures
from autointerp.after.findings import Finding, store, text_of
from autointerp.after.judging import Unjudged, judgements, known
from autointerp.after.labels import HUMAN, labels_of
from autointerp.after.relabel_config import RelabelConfig
from autointerp.assess import assess, failure
from autointerp.auroc import weighted_auroc
from autointerp.bootstrap import clusters, estimate, weights
from autointerp.controls import Controls
from autointerp.examples import Reader, TooFew, Window, judged
from autointerp.judgements import Judgement
from autointerp.records import Explanation, statistics_of
from autointerp.tools import Tools
from autointerp.trials import Trial
from data import parts, runs
from data.parts import Choice
from data.runs import Run
from data.store import Workspace, append
from data.words import Estimate, Feature, digest

SCORERS = "autointerp.scorers"
LONGEST = 500
SHOWN = 5
"""Windows of each kind that the command prints."""


@dataclass(frozen=True)
class Judged:
    """What one scorer says of a label: its AUROC, those of the present label and of the control, and its mistakes."""

    scorer: str
    value: Estimate | None = None
    present: Estimate | None = None
    difference: Estimate | None = None
    """value - present, on the same windows and draws."""
    control: Estimate | None = None
    """Another feature's label."""
    trials: int = 0
    false_positives: list[Window] = field(default_factory=list)
    """Silent windows that the label fits, the best fitting first."""
    misses: list[Window] = field(default_factory=list)
    """Active windows that it does not fit, the worst fitting first."""
    error: str | None = None
    answer: Judgement | None = None


@dataclass(frozen=True)
class Relabelled:
    """A label for a feature, judged; `problem` says why it could not be."""

    feature: Feature
    text: str
    judged: list[Judged]
    present: Explanation | None
    """The label that the feature has now."""
    trial: Trial
    seconds: float
    problem: str | None = None


def judge(workspace: Workspace, feature: Feature, text: str, **options: object) -> Relabelled:
    """Judges `text` as a label of `feature`, storing nothing; `options` are those of `RelabelConfig`.

    Raises `Mistake` for a feature that is unknown or was never harvested, and for an unknown scorer.
    """
    config = RelabelConfig(feature=str(feature), text=text, **options)  # pyright: ignore[reportArgumentType]
    with Tools(workspace, config.seed, config.judge, config) as tools:
        return _judge(tools, config)


def relabel(workspace: Workspace, config: RelabelConfig) -> str:
    """`lacewing relabel`: stores the label with its scores; what was found as text, the run's id in the first line."""
    with Tools(workspace, config.seed, config.judge, config) as tools:
        found = _judge(tools, config)
    with runs.start(workspace, "relabel", config, seed=config.seed) as run:
        _store(run, config, found)
        run.summary["explanation"] = found.trial.explanation.explanation
    return "\n".join([text_of(workspace, run.run), *_lines(found)])


def _judge(tools: Tools, config: RelabelConfig) -> Relabelled:
    began = time.monotonic()
    feature, text = Feature.parse(config.feature), " ".join(config.text.split())[:LONGEST]
    scorers = list({one.label: one for one in parts.choices(SCORERS, config.scorers)}.values())
    statistics_of(tools.workspace, [feature])
    known_labels = labels_of(tools.workspace, feature.dictionary)
    mine = Explanation(digest("human", str(feature), text, config.author), feature, text)
    present = known_labels.get(feature.latent)
    trial = _trial(tools.workspace, mine, list(known_labels.values()), config)
    found = [] if trial.problem else list(_answers(trial, present, scorers, tools, config.seed))
    return Relabelled(feature, text, found, present, trial, time.monotonic() - began, trial.problem)


def _trial(workspace: Workspace, mine: Explanation, others: Sequence[Explanation], config: RelabelConfig) -> Trial:
    control = Controls(others, config.seed).of(mine)
    reader = Reader(workspace, mine.feature.dictionary)
    try:
        windows = judged(reader, mine.feature.latent, "score", config.windows, config.seed)
    except TooFew as reason:
        return Trial(mine, [], str(reason), control, reader)
    return Trial(mine, list(windows), None, control, reader)


def _answers(
    trial: Trial, present: Explanation | None, scorers: Sequence[Choice], tools: Tools, seed: int
) -> Iterator[Judged]:
    """What each scorer says. Texts are asked for in this order: the label, the control, the present label."""
    texts = [*trial.question.texts, *([present.text] if present else [])]
    question = replace(trial.question, texts=tuple(texts))
    for scorer in scorers:
        (answer,) = judgements(scorer, [question], tools)
        try:
            yield _judged(scorer.label, trial, answer, present is not None, seed)
        except Unjudged as reason:
            yield Judged(scorer.label, error=str(reason))


def _judged(name: str, trial: Trial, answer: Judgement, has_present: bool, seed: int) -> Judged:
    kept = known(answer)
    windows = [window for window, keep in zip(trial.windows, kept, strict=True) if keep]
    truth, documents = np.array([w.active for w in windows]), np.array([w.document for w in windows])
    drawn, drawn_from = weights(documents, seed), clusters(documents)
    rows = [weighted_auroc(row, truth, drawn) for row in answer.values[:, kept]]
    now = rows.pop() if has_present else None
    values = answer.values[0, kept]
    said = measures.verdicts(values, truth, documents, answer.threshold, seed).said
    return Judged(
        name,
        estimate(rows[0], drawn_from),
        estimate(now, drawn_from) if now is not None else None,
        estimate(rows[0] - now, drawn_from) if now is not None else None,
        estimate(rows[1], drawn_from) if len(rows) > 1 else None,
        len(windows),
        _worst(windows, values, said & ~truth, -1),
        _worst(windows, values, ~said & truth, 1),
        answer=replace(answer, values=answer.values[: 2 if trial.control else 1]),
    )


def _worst(windows: Sequence[Window], values: np.ndarray, which: np.ndarray, sign: int) -> list[Window]:
    order = np.argsort(sign * values, kind="stable").tolist()
    return [windows[at] for at in order if which[at]]


def _store(run: Run, config: RelabelConfig, found: Relabelled) -> None:
    """The label, the explanation, its scores and the findings, in place of those that the same label had before."""
    key, feature = found.trial.explanation.explanation, found.feature
    place = {"dictionary": feature.dictionary, "latent": feature.latent}
    written = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    details = {"author": config.author, "before": found.present and found.present.explanation}
    with run.workspace.write() as db:
        for table in ("explanations", "scores"):
            db.execute(f"delete from {table} where explanation = ?", [key])
        append(db, "labels", [place | {"text": found.text, "author": config.author, "written": written}])
        append(db, "explanations", [place | {"explanation": key, "explainer": HUMAN, "text": found.text, "run": run.run,
            "details": details}])  # fmt: skip
        append(db, "scores", [{"explanation": key, "scorer": one.scorer, "run": run.run} | columns
            for one, columns in zip(found.judged, _columns(found, config.seed), strict=True)])  # fmt: skip
    store(run, list(_findings(found)))


def _columns(found: Relabelled, seed: int) -> list[dict[str, object]]:
    """The columns of a row of `scores` for each scorer; all rows have the same ones."""
    made = [
        assess(found.trial, one.answer, seed) if one.answer else failure(found.trial, one.error or "no judgement")
        for one in found.judged
    ]
    names = dict.fromkeys(name for row in made for name in row)
    return [{name: row.get(name) for name in names} for row in made]


def _findings(found: Relabelled) -> Iterator[Finding]:
    about = str(found.feature)
    if found.problem:
        yield Finding.none(about, "AUROC", found.problem)
    for one in found.judged:
        measure = f"AUROC by {one.scorer}"
        if one.error:
            yield Finding.none(about, measure, one.error)
            continue
        details = {
            "text": found.text,
            "present": found.present and found.present.text,
            "swapped": one.control and [one.control.value, one.control.lower, one.control.upper],
            "false_positives": [w.record() for w in one.false_positives],
            "misses": [w.record() for w in one.misses],
        }
        against = "present label" if one.present else ""
        yield Finding(about, measure, one.value, one.trials, one.present, one.difference, against, details=details)


def _lines(found: Relabelled) -> Iterator[str]:
    """The mistakes of the label by its first scorer, for a terminal."""
    if found.present:
        yield f"present label: {found.present.text!r}"
    for one in found.judged:
        if one.control:
            yield f"another feature's label by {one.scorer}: {one.control}"
    for one in found.judged[:1]:
        for name, windows in (("would fire, is silent", one.false_positives), ("fires, would be missed", one.misses)):
            yield f"{name} ({one.scorer}): {len(windows)} of {one.trials} windows"
            yield from (f"  {window.text!r}" for window in windows[:SHOWN])
    yield f"{found.seconds:.1f} s"
