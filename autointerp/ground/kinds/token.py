"""Features of one token."""

from __future__ import annotations

from autointerp.ground.making import words
from autointerp.rule import Rule


def rules() -> list[Rule]:
    """A rule a feature."""
    return [words(word) for word in ("king", "house", "people", "heart", "father", "land", "city", "sin")]
