"""Explains a feature by what it makes the model say: its decoder direction read as tokens; no text.

1. The decoder's row goes through the final norm and the unembedding (done by the harvest: `top_logits`), the projection
   that Gur-Arieh et al. 2025 (arXiv:2501.08319) call VocabProj.
2. The explanation lists the tokens promoted most that are words.

It says what the feature does, not when it fires: on features that detect, it scores near chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from autointerp.candidates import WORDS, Candidate, listing
from autointerp.cases import Case, Explained
from autointerp.tools import Tools
from data.parts import NoOptions


def explain(cases: Sequence[Case], tools: Tools, _: NoOptions) -> Iterator[Explained]:
    """One explanation a case."""
    for case in cases:
        found = promoted(case)
        if found is None:
            yield Explained(case.feature, error="nothing stands out: no word is among the tokens it promotes most")
        else:
            yield Explained(case.feature, text=found.text, details={"candidates": [found.record()]})
        tools.advance()


def promoted(case: Case) -> Candidate | None:
    """The words that the feature promotes most, as a phrase."""
    words = spelled(case.statistics.get("top_logits", []))
    return Candidate(f"text that leads to {listing(words)}", "vocabulary", words) if words else None


def suppressed(case: Case) -> Candidate | None:
    """The words that it suppresses most."""
    words = spelled(case.statistics.get("bottom_logits", []))
    return Candidate(f"text that leads away from {listing(words)}", "vocabulary", words) if words else None


def spelled(tokens: Iterable[Sequence[Any]]) -> tuple[str, ...]:
    """Those of `tokens` (each first in its row) that are words, in plain spelling, each once."""
    plain = (str(token[0]).strip().lower() for token in tokens)
    return tuple(dict.fromkeys(word for word in plain if word.isalpha()))[:WORDS]
