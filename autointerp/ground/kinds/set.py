"""Features of a set of tokens that mean something alike."""

from __future__ import annotations

from autointerp.ground.making import words
from autointerp.rule import Rule


def rules() -> list[Rule]:
    """A rule a feature."""
    sets = (
        "father mother brother sister son daughter wife husband aunt uncle",
        "head hand eyes face feet mouth tongue lips ear finger",
        "two three four five six seven eight nine ten twelve",
        "said answered cried replied asked spoke told exclaimed",
        "white black red blue green yellow purple scarlet",
        "morning evening night noon afternoon midnight day",
        "january march april june july september october december",
        "gold silver brass iron stone wood marble cedar",
    )
    return [words(text) for text in sets]
