"""Features of the place in a passage or a line."""

from __future__ import annotations

from autointerp.ground.making import but_not, make, words
from autointerp.rule import Rule


def rules() -> list[Rule]:
    """A rule a feature."""
    return [
        make("position", first=1, of="line"),
        make("position", first=1, of="document"),
        but_not(make("position", first=3, of="line"), make("position", first=1, of="line")),
        make("position", first=4, of="document"),
        but_not(make("position", first=12, of="document"), make("position", first=6, of="document")),
        but_not(make("position", first=2, of="line"), words("and the")),
    ]
