"""Features of words that stand after given words."""

from __future__ import annotations

from autointerp.ground.making import make
from autointerp.rule import Rule

BEFORE = ("his", "my our", "very so", "would could should", "every each all", "mr mrs miss", "thy thine", "been being")


def rules() -> list[Rule]:
    """A rule a feature."""
    return [make("previous", items=text.split()) for text in BEFORE]
