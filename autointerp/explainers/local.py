"""Explains features without any endpoint: candidates by counting, ranked by a small local language model.

1. Candidates: the words at, before, after and around the firings, pairs of words, kinds of words, the start of a passage
   (`candidates.py`), and the words that the decoder promotes (`vocabulary.py`).
2. The `FINALISTS` that do best when simply run as rules (does the window contain these words?) go on.
3. Each of them is judged as the `surprisal` scorer would judge it, but on windows of the `explain` half: the AUROC, over
   active and silent windows, of how much the candidate raises the text's probability (`likelihood.py`).
4. The best by the mean of that AUROC and the rule's is the explanation: two noisy judges of a few windows err less than
   one. All finalists and both AUROCs are kept in the details.

A model of this size cannot write an explanation (it repeats its examples), but it can tell which of two fits better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autointerp.auroc import auroc
from autointerp.candidates import Candidate, candidates, contains
from autointerp.cases import Case, Explained
from autointerp.examples import TooFew, Window
from autointerp.explainers.vocabulary import promoted
from autointerp.tools import Tools
from data.parts import NoOptions

USES = ("judge",)
FINALISTS = 4
"""Candidates that the language model judges: it takes nearly all the time."""
WORDLESS = 0.7
"""The AUROC that stands for a candidate that cannot be run as a rule, such as "numbers and digits"."""


def explain(cases: Sequence[Case], tools: Tools, _: NoOptions) -> Iterator[Explained]:
    """One explanation a case."""
    for case in cases:
        yield _explain(case, tools)
        tools.advance()


def _explain(case: Case, tools: Tools) -> Explained:
    try:
        shown, windows = case.shown, case.contrast
    except TooFew as reason:
        return Explained(case.feature, error=str(reason))
    found = [c for c in [*candidates(case.reader, case.feature.latent), promoted(case)] if c]
    if not found:
        return Explained(case.feature, error="nothing stands out: no word, kind of word or place fits where it fires")
    truth = np.array([w.active for w in windows])
    found = finalists(found, windows, truth)
    gains = tools.likelihood.gains([c.text for c, _ in found], [w.text for w in windows])
    ranked = rank(found, gains, truth)
    details = {"candidates": [r.candidate.record() | {"auroc": round(r.surprisal, 4), "rule": r.rule} for r in ranked]}
    text = ranked[0].candidate.text
    return Explained(case.feature, text=text, details=details | {"shown": [w.record() for w in shown]})


@dataclass(frozen=True)
class Ranked:
    """A candidate with its AUROCs on `explain` windows: as a rule, and by the gain in the text's probability."""

    candidate: Candidate
    rule: float
    surprisal: float


def finalists(
    found: Sequence[Candidate], windows: Sequence[Window], truth: np.ndarray
) -> list[tuple[Candidate, float]]:
    """The `FINALISTS` whose words, counted in each window, tell active from silent best, with that AUROC."""
    judged = [(c, _as_rule(c, windows, truth) if c.words else WORDLESS) for c in found]
    return sorted(judged, key=lambda pair: -pair[1])[:FINALISTS]


def _as_rule(candidate: Candidate, windows: Sequence[Window], truth: np.ndarray) -> float:
    return round(float(auroc(np.array([contains(candidate, w.text) for w in windows], dtype=float), truth)), 4)


def rank(found: Sequence[tuple[Candidate, float]], gains: np.ndarray, truth: np.ndarray) -> list[Ranked]:
    """Finalists, best first by the mean of both AUROCs (gains are [candidates, windows]); ties go to the earlier one."""
    scored = [Ranked(c, rule, float(auroc(gain, truth))) for (c, rule), gain in zip(found, gains, strict=True)]
    return sorted(scored, key=lambda r: -(r.rule + r.surprisal))
