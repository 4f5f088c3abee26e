"""Explains a feature by what it makes the model say: its decoder direction read as tokens; no text.

1. The decoder's row goes through the final norm and the unembedding (done by the harvest: `top_logits`), the projection
   that Gur-Arieh et al. 2025 (arXiv:2501.08319) call VocabProj.
2. The explanation lists the tokens promoted most that are words.

It says what the feature does, not when it fires: on features that detect, it scores near chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    spelled = (token.strip().lower() for token, _ in case.statistics.get("top_logits", []))
    words = list(dict.fromkeys(word for word in spelled if word.isalpha()))[:WORDS]
    return Candidate(f"text that leads to {listing(words)}", "vocabulary", tuple(words)) if words else None
