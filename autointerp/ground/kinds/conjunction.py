"""Features for which two things must come together."""

from __future__ import annotations

from autointerp.ground.kinds.topic import TOPICS
from autointerp.ground.making import all_of, make, negated, topic, words
from autointerp.rule import Rule


def rules() -> list[Rule]:
    """A rule a feature."""
    told = dict(TOPICS)
    capital = make("kind", name="capitals")
    return [
        all_of(capital, make("previous", items=["of"])),
        all_of(make("affix", affix="ed"), make("previous", items=["was", "were", "been", "be", "is", "are"])),
        all_of(words("the a an"), topic("war", told["war"])),
        all_of(words("have has had was were be is are"), negated("not never no", 4)),
        all_of(make("kind", name="numbers"), topic("money and taxes", told["money and taxes"])),
        all_of(make("affix", affix="ing"), make("previous", items=["of", "in", "for", "by", "with"])),
        all_of(words("he she they him her them"), topic("affection", told["affection"], least=1)),
        all_of(capital, make("previous", items=["and", "or"])),
    ]
