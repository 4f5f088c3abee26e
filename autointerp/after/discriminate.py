"""Whether a label tells its feature from its nearest: a label that fits a family of features explains none of them.

1. The neighbours are the ten latents with the nearest decoders, and apart from these the ten that fire most often at the
   same tokens, as the harvest has stored them.
2. Windows of the `score` half: some where the feature fires; some where a neighbour does and the feature is silent.
3. AUROC of how well the label fits, by any scorer. Chance is .5, and a label that names the family alone stays there.
4. The control is the mean AUROC of some neighbours' labels on the same windows: they should fit the neighbours better, and
   fall below .5. A neighbour with the same label does as well as the label itself.

Intervals are over documents for a feature, over features for the mean of all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from autointerp.after.discriminate_config import DiscriminateConfig
from autointerp.after.findings import Finding, means, store, text_of
from autointerp.after.judging import Unjudged, judgements, known, scorer_of
from autointerp.after.labels import labels_of, of_run
from autointerp.auroc import weighted_auroc
from autointerp.bootstrap import clusters, weights
from autointerp.drawing import CONTEXT
from autointerp.examples import FEWEST, Reader, Window, distinct
from autointerp.judgements import Judgement, Question
from autointerp.records import Explanation, statistics_of
from autointerp.tools import Tools
from autointerp.watch import watch
from data import runs
from data.errors import Mistake
from data.parts import Choice
from data.runs import Run
from data.store import Workspace
from data.words import digest

KINDS = {"nearest": "AUROC against nearest decoders", "neighbours": "AUROC against co-active latents"}
AGAINST = "neighbours' labels"


@dataclass(frozen=True)
class Test:
    """A label, the windows that it is tested on, and neighbours' labels; or why it cannot be tested."""

    label: Explanation
    kind: str
    windows: list[Window]
    controls: list[str]
    problem: str = ""


def shown(workspace: Workspace, config: DiscriminateConfig) -> str:
    """`lacewing discriminate`: the findings as text, the run's id in the first line."""
    return text_of(workspace, discriminate(workspace, config))


def discriminate(workspace: Workspace, config: DiscriminateConfig, console: Console | None = None) -> str:
    """Tests each label, or finds an equal run that is done; the run's id. Raises `Mistake` without labels."""
    scorer = scorer_of(config.scorer)
    labels = of_run(workspace, config.explanations)
    if not labels:
        raise Mistake("That explain run has no feature with a label; there is nothing to test.")
    inputs = {"explanations": [label.explanation for label in labels], "scorer": scorer.label}
    if done := runs.finished(workspace, "discriminate", config, inputs):
        return done
    with runs.start(workspace, "discriminate", config, seed=config.seed, inputs=inputs) as run:
        found = _findings(run, labels, scorer, config, console)
        store(run, found)
        run.summary |= {"tests": len(found), "failed": sum(one.value is None for one in found)}
    return run.run


def _findings(
    run: Run, labels: Sequence[Explanation], scorer: Choice, config: DiscriminateConfig, console: Console | None
) -> list[Finding]:
    tests = _tests(run.workspace, labels, config)
    ready = [test for test in tests if not test.problem]
    found = [Finding.none(str(t.label.feature), KINDS[t.kind], t.problem) for t in tests if t.problem]
    with Tools.of(run, config) as tools, watch(run, "judging", len(ready), console=console) as tools.advance:
        questions = [Question((t.label.text, *t.controls), t.windows, t.label.feature) for t in ready]
        for test, answer in zip(ready, judgements(scorer, questions, tools), strict=True):
            found.append(_finding(test, answer, config.seed))
    overall = [one for kind in KINDS.values() for one in _overall(found, kind, config.seed)]
    return [*overall, *found]


def _tests(workspace: Workspace, labels: Sequence[Explanation], config: DiscriminateConfig) -> list[Test]:
    reader = functools.cache(functools.partial(Reader, workspace))
    statistics = statistics_of(workspace, [label.feature for label in labels])
    tests: list[Test] = []
    for label in labels:
        for kind in KINDS:
            near = [int(latent) for latent, _ in statistics[label.feature].get(kind, [])]
            tests.append(_test(workspace, reader(label.feature.dictionary), label, kind, near, config))
    return tests


def _test(
    workspace: Workspace, reader: Reader, label: Explanation, kind: str, near: list[int], config: DiscriminateConfig
) -> Test:
    if not near:
        error = "the harvest has stored no such neighbours; run `lacewing harvest` again"
        return Test(label, kind, [], [], error)
    known_labels = labels_of(workspace, label.feature.dictionary, near)
    order = sorted(known_labels.values(), key=lambda one: digest(config.seed, label.explanation, one.explanation))
    windows = contested(reader, label.feature.latent, near, config.windows // 2, config.seed)
    active = sum(window.active for window in windows)
    if min(active, len(windows) - active) < FEWEST:
        error = (
            f"too few windows: {active} where it fires, {len(windows) - active} where neighbours do; {FEWEST} needed"
        )
        return Test(label, kind, [], [], error)
    return Test(label, kind, windows, [one.text for one in order[: config.controls]])


def contested(reader: Reader, latent: int, near: Sequence[int], count: int, seed: int) -> list[Window]:
    """At most `count` windows of the `score` half where `latent` fires, and `count` where one of `near` does and it does
    not, equally from each of them."""
    tiles, own = reader.tiles("score", CONTEXT), reader.firings(latent)
    draw = np.random.default_rng([seed, latent])
    active = tiles.active(own)
    rival = [draw.permutation(np.flatnonzero(tiles.active(reader.firings(n)) & ~active)) for n in near]
    turns = [row[turn] for turn in range(max(map(len, rival), default=0)) for row in rival if turn < len(row)]
    orders = (draw.permutation(np.flatnonzero(active)).tolist(), list(dict.fromkeys(turns)))
    found: list[Window] = []
    for order in orders:
        windows = (reader.window(int(tiles.document[t]), int(tiles.start[t]), CONTEXT, own) for t in order)
        found += [window for window, _ in zip(distinct(windows), range(count), strict=False)]
    return found


def _finding(test: Test, answer: Judgement, seed: int) -> Finding:
    about, measure = str(test.label.feature), KINDS[test.kind]
    try:
        kept = known(answer)
    except Unjudged as reason:
        return Finding.none(about, measure, str(reason))
    windows = [window for window, keep in zip(test.windows, kept, strict=True) if keep]
    truth, documents = (np.array([getattr(window, name) for window in windows]) for name in ("active", "document"))
    drawn, drawn_from = weights(documents, seed), clusters(documents)
    scores = np.stack([weighted_auroc(row, truth, drawn) for row in answer.values[:, kept]])
    draws = np.stack([scores[0], scores[1:].mean(0)]) if len(scores) > 1 else scores
    details = {"label": test.label.text, "neighbours": test.controls, "unjudged": int((~kept).sum())}
    against = AGAINST if len(scores) > 1 else ""
    return Finding.of(about, measure, draws, len(windows), drawn_from=drawn_from, against=against, details=details)


def _overall(found: Sequence[Finding], measure: str, seed: int) -> Iterator[Finding]:
    """The mean over features beside chance, and, of those whose neighbours have labels, beside these."""
    mine = [one for one in found if one.measure == measure]
    tested = [(one.value.value, one.control.value if one.control else np.nan) for one in mine if one.value]
    about = " ".join(sorted({one.about.rpartition("/")[0] for one in mine}))
    names = {f"mean {measure}": "chance", f"mean {measure}, of the same features": AGAINST}
    for name, against in names.items():
        rows = np.array(tested, dtype=float).reshape(-1, 2).T
        rows = np.stack([rows[0], 0.5 + 0 * rows[0]]) if against == "chance" else rows[:, ~np.isnan(rows[1])]
        details = {"features": len(mine), "left_out": len(mine) - rows.shape[1]}
        if not rows.shape[1]:
            yield Finding.none(about, name, "no feature could be tested, or none has a neighbour with a label")
            continue
        draws = means(rows, weights(np.arange(rows.shape[1]), seed))
        yield Finding.of(about, name, draws, rows.shape[1], against=against, details=details)
