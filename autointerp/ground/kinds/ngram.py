"""Features of a phrase, at its last word."""

from __future__ import annotations

from autointerp.ground.making import make
from autointerp.rule import Rule

PHRASES = ("of the", "in the", "to be", "it is", "the king", "to the", "son of", "had been")


def rules() -> list[Rule]:
    """A rule a feature."""
    return [make("ngram", items=phrase.split()) for phrase in PHRASES]
