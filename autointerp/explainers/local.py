"""Explains features without any endpoint: candidates by counting, ranked by a small local language model.

1. Candidates: the words at, before, after and around the firings, pairs of words, kinds of words, the start of a passage
   (`candidates.py`), the words that the decoder promotes (`vocabulary.py`), and with `rules` the best executable rules.
2. The `FINALISTS` that do best when simply run as rules (does the window contain these words?) go on.
3. Each of them is judged as the `surprisal` scorer would judge it, but on windows of the `explain` half (with `held`, of
   documents of that half from which no candidate was made): the AUROC, over active and silent windows, of how much the
   candidate raises the text's probability (`likelihood.py`).
4. The best by the mean of that AUROC and the rule's is the explanation: two noisy judges of a few windows err less than
   one. All finalists and both AUROCs are kept in the details.

A model of this size cannot write an explanation (it repeats its examples), but it can tell which of two fits better.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autointerp.auroc import auroc
from autointerp.candidates import Candidate, candidates, contains
from autointerp.cases import Case, Explained
from autointerp.examples import TooFew, Window, judged
from autointerp.explainers.vocabulary import promoted
from autointerp.index import index_of, places_of
from autointerp.learning import learn, seen_of
from autointerp.rule import Rule
from autointerp.slices import SELECT, sliced
from autointerp.tools import Tools
from data.errors import Mistake

USES = ("judge",)
FINALISTS = 4
"""Candidates that the language model judges: it takes nearly all the time."""
RULES = 2
"""Executable rules among the candidates, the best of different kinds."""
WORDLESS = 0.7
"""The AUROC that stands for a candidate that cannot be run as a rule, such as "numbers and digits"."""


@dataclass(frozen=True)
class Options:
    """Which candidates there are, and on what they are compared."""

    rules: bool = False
    """Have executable rules among the candidates."""
    held: float = 0.0
    """The part of the explain documents that is kept back to compare them on; 0: they are compared where they are from."""

    def __post_init__(self) -> None:
        if not 0 <= self.held < 1:
            raise Mistake(f"held is {self.held:g}; a part of the documents is from 0 to below 1.")


@dataclass(frozen=True)
class Entry:
    """A candidate, how well it tells active windows from silent ones when it is run, and the rule that it is, if it is."""

    candidate: Candidate
    auroc: float
    rule: Rule | None = None


def explain(cases: Sequence[Case], tools: Tools, options: Options) -> Iterator[Explained]:
    """One explanation a case."""
    for case in cases:
        yield _explain(case, tools, options)
        tools.advance()


def _explain(case: Case, tools: Tools, options: Options) -> Explained:
    try:
        case, windows = _compared(case, options.held)
        shown = case.shown
    except TooFew as reason:
        return Explained(case.feature, error=str(reason))
    truth = np.array([w.active for w in windows])
    found = [Entry(c, _as_rule(c, windows, truth) if c.words else WORDLESS) for c in _phrases(case)]
    found += _rules(case, windows, truth) if options.rules else []
    if not found:
        return Explained(case.feature, error="nothing stands out: no word, kind of word or place fits where it fires")
    found = sorted(found, key=lambda entry: -entry.auroc)[:FINALISTS]
    gains = tools.likelihood.gains([one.candidate.text for one in found], [w.text for w in windows])
    ranked = rank(found, gains, truth)
    return Explained(
        case.feature,
        text=ranked[0].entry.candidate.text,
        details=_details(ranked) | {"shown": [w.record() for w in shown]},
    )


def _compared(case: Case, held: float) -> tuple[Case, list[Window]]:
    """The case as candidates are made from, and the windows on which they are compared; of a feature that is too rare to
    keep anything back, the same documents. Raises `TooFew`.
    """
    if held:
        part = sliced(case.reader, held)
        with contextlib.suppress(TooFew):
            windows = judged(part, case.feature.latent, SELECT, case.windows, case.seed)
            return replace(case, reader=part), windows
    return case, case.contrast


def _phrases(case: Case) -> list[Candidate]:
    return [c for c in [*candidates(case.reader, case.feature.latent), promoted(case)] if c]


def _rules(case: Case, windows: Sequence[Window], truth: np.ndarray) -> list[Entry]:
    """The best executable rules, each run over the windows in their documents."""
    learnt = {one.rule.kind: one for one in reversed(learn(seen_of(case.reader, case.feature.latent)))}
    best = sorted(learnt.values(), key=lambda one: -one.f1)[:RULES]
    index = index_of(case.reader)
    begin = index.at(np.array([w.document for w in windows]), np.array([w.start for w in windows]))
    ends = begin + np.array([len(w.ids) for w in windows])
    entries: list[Entry] = []
    for one in best:
        places = places_of(one.rule, index)
        said = np.searchsorted(places, ends) - np.searchsorted(places, begin)
        value = round(float(auroc(said.astype(float), truth)), 4)
        entries.append(Entry(Candidate(one.rule.text, "rule"), value, one.rule))
    return entries


def _details(ranked: Sequence[Ranked]) -> dict[str, Any]:
    """All that were compared; the rule that the best is, if it is one."""
    records = [r.entry.candidate.record() | {"auroc": round(r.surprisal, 4), "rule": r.entry.auroc} for r in ranked]
    rule = ranked[0].entry.rule
    return {"candidates": records} | ({"rule": rule.record()} if rule else {})


@dataclass(frozen=True)
class Ranked:
    """A candidate, with the AUROC of how much it raises the probability of windows."""

    entry: Entry
    surprisal: float


def rank(found: Sequence[Entry], gains: np.ndarray, truth: np.ndarray) -> list[Ranked]:
    """Best first by the mean of both AUROCs (gains are [candidates, windows]); ties go to the earlier one."""
    scored = [Ranked(entry, float(auroc(gain, truth))) for entry, gain in zip(found, gains, strict=True)]
    return sorted(scored, key=lambda r: -(r.entry.auroc + r.surprisal))


def _as_rule(candidate: Candidate, windows: Sequence[Window], truth: np.ndarray) -> float:
    return round(float(auroc(np.array([contains(candidate, w.text) for w in windows], dtype=float), truth)), 4)
