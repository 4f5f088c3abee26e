"""Features of words in the scope of a negation."""

from __future__ import annotations

from autointerp.ground.making import negated
from autointerp.rule import Rule


def rules() -> list[Rule]:
    """A rule a feature."""
    return [
        negated("not", 2),
        negated("no", 3),
        negated("never nothing none", 4),
        negated("cannot", 4),
        negated("without", 3),
        negated("neither nor", 4),
        negated("not cannot", 1),
    ]
