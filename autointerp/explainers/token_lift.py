"""Explains a feature by the words on which it fires more often than chance; no model.

1. Words of the `explain` half are ordered by their part of the mutual information with the firings (`candidates.py`).
2. The explanation lists the first few.

The baseline that every other explanation should beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autointerp.candidates import candidates
from autointerp.cases import Case, Explained
from autointerp.examples import TooFew
from autointerp.tools import Tools
from data.parts import NoOptions


def explain(cases: Sequence[Case], tools: Tools, _: NoOptions) -> Iterator[Explained]:
    """One explanation a case."""
    for case in cases:
        yield _explain(case)
        tools.advance()


def _explain(case: Case) -> Explained:
    try:
        windows = [w.record() for w in case.shown]
    except TooFew as reason:
        return Explained(case.feature, error=str(reason))
    found = next((c for c in candidates(case.reader, case.feature.latent) if c.source == "at"), None)
    if found is None:
        return Explained(case.feature, error="nothing stands out: no word is more frequent where it fires")
    return Explained(case.feature, text=found.text, details={"candidates": [found.record()], "shown": windows})
