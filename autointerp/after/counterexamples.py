"""Windows that contradict a label, found by search: for a second round of explaining, and for a person to read.

1. Only the `explain` half is searched: what is found is shown to explainers, and scores stay on text that none has seen.
2. A scorer says how well the label fits windows drawn as they come, and windows where the feature fires.
3. `silent`: the label fits best and the feature is silent. `missed`: the feature fires and the label fits worst.
4. `of` gives back what is stored, as windows, for explainers.

The finding beside them is the share of silent windows among the best fitting, as many as there are active ones looked at
(one less than precision at that place): 0 for a label that fits where the feature fires and nowhere else. The control is
another feature's label on the same windows, which stays near the share of silent windows among all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from rich.console import Console

from autointerp.after.counterexamples_config import CounterexamplesConfig
from autointerp.after.findings import Finding, store, text_of
from autointerp.after.judging import Unjudged, judgements, known, scorer_of
from autointerp.after.labels import of_run
from autointerp.bootstrap import clusters, weights
from autointerp.controls import Controls
from autointerp.drawing import CONTEXT
from autointerp.examples import FEWEST, Reader, Window, distinct
from autointerp.judgements import Judgement, Question
from autointerp.records import Explanation
from autointerp.tools import Tools
from autointerp.watch import watch
from data import runs
from data.errors import Mistake
from data.parts import Choice
from data.runs import Run
from data.store import Workspace, append
from data.words import Feature

MEASURE = "share of silent windows among the best fitting"
AGAINST = "another feature's label"


@dataclass(frozen=True)
class Counterexamples:
    """Windows that contradict the newest label that was searched, the worst first."""

    silent: list[Window] = field(default_factory=list)
    """The label fits, and the feature does not fire."""
    missed: list[Window] = field(default_factory=list)
    """The feature fires, and the label does not fit."""


def of(workspace: Workspace, feature: Feature) -> Counterexamples:
    """The counter-examples of `feature` that are stored, of the newest search; none where nobody has searched."""
    query = (
        "select kind, document, start, length, harvest from counterexamples c join runs r using (run) "
        "where dictionary = ? and latent = ? and started = (select max(started) from counterexamples "
        "join runs using (run) where dictionary = c.dictionary and latent = c.latent) order by kind, rank"
    )
    with workspace.read() as db:
        rows = db.execute(query, [feature.dictionary, feature.latent]).fetchall()
    if not rows:
        return Counterexamples()
    reader = Reader(workspace, feature.dictionary, rows[0][4])
    firings = reader.firings(feature.latent)
    found = Counterexamples()
    for kind, document, start, length, _ in rows:
        getattr(found, kind).append(reader.window(document, start, length, firings))
    return found


def shown(workspace: Workspace, config: CounterexamplesConfig) -> str:
    """`lacewing counterexamples`: the findings as text, the run's id in the first line."""
    return text_of(workspace, counterexamples(workspace, config))


def counterexamples(workspace: Workspace, config: CounterexamplesConfig, console: Console | None = None) -> str:
    """Searches for each label, or finds an equal search that is done; the run's id. Raises `Mistake` without labels."""
    scorer = scorer_of(config.scorer)
    labels = of_run(workspace, config.explanations)
    if not labels:
        raise Mistake("That explain run has no feature with a label; there is nothing to refute.")
    inputs = {"explanations": [label.explanation for label in labels], "scorer": scorer.label}
    if done := runs.finished(workspace, "counterexamples", config, inputs):
        return done
    with runs.start(workspace, "counterexamples", config, seed=config.seed, inputs=inputs) as run:
        found = list(_search(run, labels, scorer, config, console))
        store(run, found)
        run.summary |= {"features": len(labels), "failed": sum(one.value is None for one in found)}
    return run.run


def _search(
    run: Run, labels: Sequence[Explanation], scorer: Choice, config: CounterexamplesConfig, console: Console | None
) -> Iterator[Finding]:
    reader = functools.cache(functools.partial(Reader, run.workspace))
    questions, controls = dict[Feature, Question](), Controls(labels, config.seed)
    for label in labels:
        opened = reader(label.feature.dictionary)
        windows = looked_at(opened, label.feature.latent, config.windows, config.seed)
        if sum(window.active for window in windows) < FEWEST:
            yield Finding.none(str(label.feature), MEASURE, f"too rare: active in fewer than {FEWEST} windows")
            continue
        control = controls.of(label)
        texts = (label.text, control.text) if control else (label.text,)
        questions[label.feature] = Question(texts, windows, label.feature, opened)
    ready = [label for label in labels if label.feature in questions]
    with Tools.of(run, config) as tools, watch(run, "judging", len(ready), console=console) as tools.advance:
        answers = judgements(scorer, list(questions.values()), tools)
        for label, answer in zip(ready, answers, strict=True):
            yield _found(run, label, questions[label.feature], answer, (scorer.label, config))


def looked_at(reader: Reader, latent: int, count: int, seed: int) -> list[Window]:
    """At most `count` different windows of the `explain` half, no more than half of them where `latent` fires."""
    tiles, firings = reader.tiles("explain", CONTEXT), reader.firings(latent)
    active = tiles.active(firings)
    draw = np.random.default_rng([seed, latent])
    fires = draw.permutation(np.flatnonzero(active))[: count // 2]
    quiet = draw.permutation(np.flatnonzero(~active))[: count - len(fires)]
    order = np.concatenate([fires, quiet]).tolist()
    return list(distinct(reader.window(int(tiles.document[t]), int(tiles.start[t]), CONTEXT, firings) for t in order))


def _found(
    run: Run, label: Explanation, question: Question, answer: Judgement, how: tuple[str, CounterexamplesConfig]
) -> Finding:
    scorer, config = how
    try:
        kept = known(answer)
    except Unjudged as reason:
        return Finding.none(str(label.feature), MEASURE, str(reason))
    windows = [window for window, keep in zip(question.windows, kept, strict=True) if keep]
    values, truth = answer.values[:, kept], np.array([window.active for window in windows])
    assert question.reader is not None
    rows = _rows(run.run, label, question.reader.harvest, windows, values[0], config.keep)
    with run.workspace.write() as db:
        append(db, "counterexamples", [row | {"scorer": scorer} for row in rows])
    documents = np.array([window.document for window in windows])
    drawn = weights(documents, config.seed)
    draws = np.stack([silent_among_best(row, truth, drawn) for row in values])
    details = {"label": label.text, "silent": round(float((~truth).mean()), 4), "unjudged": int((~kept).sum())}
    against = AGAINST if len(draws) > 1 else ""
    return Finding.of(
        str(label.feature), MEASURE, draws, len(windows),
        drawn_from=clusters(documents), against=against, details=details,
    )  # fmt: skip


def silent_among_best(
    values: Float[np.ndarray, " windows"],
    truth: Bool[np.ndarray, " windows"],
    drawn: Float[np.ndarray, "draws windows"],
) -> Float[np.ndarray, " draws"]:
    """The share of silent windows among the best fitting, as many as the active ones weigh; ties count by their share."""
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    total, quiet = (np.cumsum((drawn * which)[:, order], 1)[:, ends] for which in (np.ones(len(truth)), ~truth))
    wanted = (drawn * truth).sum(1)
    reached = [np.interp(want, [0, *row], [0, *part]) for want, row, part in zip(wanted, total, quiet, strict=True)]
    return np.divide(reached, wanted, out=np.full(len(drawn), np.nan), where=wanted > 0)


def _rows(
    run: str, label: Explanation, harvest: str, windows: Sequence[Window], fit: np.ndarray, keep: int
) -> list[dict[str, Any]]:
    order = np.argsort(-fit, kind="stable").tolist()
    kinds: Mapping[str, list[int]] = {
        "silent": [at for at in order if not windows[at].active][:keep],
        "missed": [at for at in reversed(order) if windows[at].active][:keep],
    }
    return [
        {"run": run, "dictionary": label.feature.dictionary, "latent": label.feature.latent,
         "explanation": label.explanation, "harvest": harvest, "kind": kind, "rank": rank,
         "judgement": float(fit[at]), "activation": windows[at].strength} | windows[at].record()
        for kind, places in kinds.items() for rank, at in enumerate(places, 1)
    ]  # fmt: skip
