"""Explains by several explainers, and keeps the text that does best on documents none of them was shown.

1. A part of the `explain` documents is kept back (`slices.py`). Each explainer named gets the rest; one that asks a
   language model is asked `draws` times, the first at temperature 0.
2. A scorer judges all candidates on windows of what was kept back, the same for all; the best by its score (the AUROC,
   where it judges windows) is the explanation, the earlier one of two that are equal.
3. All candidates and what they scored there stay in the details. Those scores are the better for having been chosen by:
   the ones to be quoted come from the `score` documents, which nothing here has met.

`best:of=llm+rule:draws=4` names explainers with `+`, and their settings with `/`: `of=llm/thinking=true+rule`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from autointerp.auroc import auroc
from autointerp.cases import Case, Explained
from autointerp.examples import TooFew, judged
from autointerp.explain import EXPLAINERS
from autointerp.explain import uses as used
from autointerp.judgements import Judgement, Outcome, Question
from autointerp.slices import SELECT, sliced
from autointerp.tools import Tools
from data import parts
from data.errors import Mistake
from data.parts import Choice

SCORERS = "autointerp.scorers"
TOGETHER = 64
"""Features whose candidates are made and compared at a time: what a run that is killed has to do again."""


@dataclass(frozen=True)
class Options:
    """Whose texts are compared, and how."""

    of: str = "local+rule+token_lift"
    """Explainers, with + between them; their settings with / before each."""
    draws: int = 1
    """Answers drawn of each explainer that asks a language model."""
    temperature: float = 0.8
    """At what temperature all but the first are drawn."""
    by: str = "surprisal"
    """The scorer that compares them, with its settings behind /."""
    windows: int = 32
    """Windows on which they are compared, half of them active."""
    share: float = 0.25
    """The part of the explain documents that is kept back for that."""

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise Mistake(f"draws is {self.draws}; at least 1 answer is drawn.")
        if not 0 < self.share < 1:
            raise Mistake(f"share is {self.share:g}; a part of the documents is between 0 and 1.")
        if self.windows < 8:
            raise Mistake(f"windows is {self.windows}; candidates are compared on at least 8.")
        if any(one.name == "best" for one in _choices(EXPLAINERS, self.of)):
            raise Mistake("best can't choose among its own choices; name other explainers in of=.")
        _choices(SCORERS, self.by)


@dataclass(frozen=True)
class Candidate:
    """What one explainer made of a feature."""

    explainer: str
    found: Explained


def uses(options: Options) -> set[str]:
    """What of the run's settings the choice depends on."""
    scorer = parts.load(SCORERS, _scorer(options).name)
    by = ({"endpoint"} if scorer.NEEDS_ENDPOINT else set()) | ({"judge"} if options.by == "surprisal" else set())
    return by.union(*(used(one) for one in _choices(EXPLAINERS, options.of)))


def explain(cases: Sequence[Case], tools: Tools, options: Options) -> Iterator[Explained]:
    """One explanation a case."""
    for begin in range(0, len(cases), TOGETHER):
        with _quiet(tools):
            made = list(_explain(cases[begin : begin + TOGETHER], tools, options))
        for one in made:
            yield one
            tools.advance()


def _explain(cases: Sequence[Case], tools: Tools, options: Options) -> Iterator[Explained]:
    shown = [replace(case, reader=sliced(case.reader, options.share)) for case in cases]
    made = [(one.label, _made(one, shown, tools)) for one in drawn(options)]
    candidates = [[Candidate(label, found[case.feature]) for label, found in made] for case in shown]
    ready, problems = _questions(shown, candidates, options)
    by = _scorer(options)
    judge = parts.load(SCORERS, by.name).judge
    answers = dict(zip(ready, judge(list(ready.values()), tools, by.options), strict=True)) if ready else {}
    for at, case in enumerate(shown):
        yield chosen(case, candidates[at], ready.get(at), answers.get(at), problems.get(at, ""))


def drawn(options: Options) -> list[Choice]:
    """The explainers that make candidates: those that ask a language model once for each draw."""
    made: list[Choice] = []
    for one in _choices(EXPLAINERS, options.of):
        draws = options.draws if {"draw", "temperature"} <= {f.name for f in fields(one.options)} else 1
        again = (replace(one.options, draw=n, temperature=options.temperature) for n in range(1, draws))
        made += [one, *(Choice(one.name, each) for each in again)]
    return list({one.label: one for one in made}.values())


def chosen(
    case: Case, candidates: Sequence[Candidate], question: Question | None, answer: Any, problem: str
) -> Explained:
    """The best candidate; where they could not be compared the first, with the reason."""
    named = [one for one in candidates if one.found.text is not None]
    if not named:
        return Explained(
            case.feature, error=candidates[0].found.error, details={"candidates": _records(candidates, {})}
        )
    scores = dict(zip(question.texts, scores_of(answer, question), strict=True)) if question else {}
    known = {text: value for text, value in scores.items() if not np.isnan(value)}
    best = max(named, key=lambda one: known.get(str(one.found.text), -np.inf))
    failures = sorted(set(answer.failures))[:3] if answer is not None else []
    details = {name: value for name, value in best.found.details.items() if name != "candidates"}
    details |= {"chosen": best.explainer, "candidates": _records(candidates, known)}
    if question:
        details |= {"selected": [w.record() for w in question.windows]}
    if len(known) < 2:
        details |= {"unselected": problem or "; ".join(failures) or "there is one candidate"}
    return Explained(case.feature, text=best.found.text, details=details)


def scores_of(answer: Judgement | Outcome, question: Question) -> list[float]:
    """A score for each text; NaN where there is none."""
    if isinstance(answer, Outcome):
        whole = np.ones((1, len(answer.documents)))
        return [float(value) for value in np.asarray(answer.statistic(whole))[:, 0]]
    truth = np.array([w.active for w in question.windows])
    scores: list[float] = []
    for row in np.asarray(answer.values, dtype=float):
        usable = ~np.isnan(row)
        scores.append(auroc(row[usable], truth[usable]) if usable.mean() > 0.5 else float("nan"))
    return scores


def _questions(
    cases: Sequence[Case], candidates: Sequence[Sequence[Candidate]], options: Options
) -> tuple[dict[int, Question], dict[int, str]]:
    """The comparison of each case's texts by the case's number, or why there is none."""
    ready: dict[int, Question] = {}
    problems: dict[int, str] = {}
    for at, (case, made) in enumerate(zip(cases, candidates, strict=True)):
        texts = tuple(dict.fromkeys(str(one.found.text) for one in made if one.found.text is not None))
        try:
            windows = judged(case.reader, case.feature.latent, SELECT, options.windows, case.seed)
        except TooFew as reason:
            problems[at] = str(reason)
            continue
        if len(texts) > 1:
            ready[at] = Question(texts, windows, case.feature, case.reader)
    return ready, problems


def _made(explainer: Choice, cases: Sequence[Case], tools: Tools) -> dict[Any, Explained]:
    part = parts.load(EXPLAINERS, explainer.name)
    return {found.feature: found for found in part.explain(cases, tools, explainer.options)}


def _records(candidates: Iterable[Candidate], scores: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {"explainer": one.explainer, "text": one.found.text, "error": one.found.error}
        | {"score": scores.get(str(one.found.text)), "request": one.found.details.get("request")}
        for one in candidates
    ]


def _choices(package: str, text: str) -> list[Choice]:
    return parts.choices(package, text.replace("+", ",").replace("/", ":"))


def _scorer(options: Options) -> Choice:
    return _choices(SCORERS, options.by)[0]


def _ignore(steps: int = 1) -> None:
    """Nobody is told."""


@contextlib.contextmanager
def _quiet(tools: Tools) -> Iterator[None]:
    """While candidates are made, nobody is told that features are done."""
    told, tools.advance = tools.advance, _ignore
    try:
        yield
    finally:
        tools.advance = told
