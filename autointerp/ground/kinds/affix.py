"""Features of words that begin or end alike."""

from __future__ import annotations

from autointerp.ground.making import make
from autointerp.rule import Rule


def rules() -> list[Rule]:
    """A rule a feature."""
    suffixes = [make("affix", affix=letters) for letters in ("ness", "tion", "ing", "ly", "ment", "est")]
    return [*suffixes, *(make("affix", affix=letters, place="prefix") for letters in ("un", "dis"))]
