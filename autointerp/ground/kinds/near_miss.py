"""Features that are nearly another rule: it holds for them, with an exception."""

from __future__ import annotations

from autointerp.ground.making import but_not, make, topic, words
from autointerp.rule import Rule


def rules() -> list[Rule]:
    """A rule a feature."""
    return [
        but_not(words("king kings"), make("previous", items=["the"])),
        but_not(make("affix", affix="ing"), make("previous", items=["of", "in", "for", "was", "is", "are", "were"])),
        but_not(make("previous", items=["not"]), words("be have")),
        but_not(words("god lord"), make("previous", items=["the", "of"])),
        but_not(words("said answered cried replied"), make("previous", items=["he", "she", "and"])),
        but_not(make("affix", affix="ly"), make("previous", items=["very", "so", "was", "is"])),
        but_not(words("day days year years month"), make("kind", name="capitals")),
        but_not(
            make("kind", name="numbers"),
            topic("shares and amounts", "percent million billion est total rate ratio male female"),
        ),
    ]
