"""Features that fire throughout passages about a topic."""

from __future__ import annotations

from autointerp.ground.making import topic
from autointerp.rule import Rule

TOPICS = (
    ("war", "war battle smote slew fought fight fled smite enemy enemies"),
    ("soldiers and weapons", "sword army armies soldiers spear chariots host captains shield bow"),
    ("sacrifice", "altar temple priest priests sacrifice offering offerings incense ark burnt"),
    ("prayer and praise", "praise praises sing worship prayer pray psalm song thanksgiving bless"),
    ("trade", "exports imports trade commodities exchange goods partners products export market"),
    ("money and taxes", "dollars billion million tax taxes revenues money prices budget debt"),
    ("programs", "program programs code software unix file files data bug version"),
    ("computers", "hackers hacker computer machine machines system user network internet terminal"),
    ("marriage", "marry married marriage engaged engagement bride husband wife proposal wedding"),
    ("affection", "love loved affection attachment attached dear heart happy happiness admiration"),
    ("the sea", "sea ocean coast ship ships water waters pacific caribbean shore"),
    ("islands and fishing", "island islands fish fishing coral harbor seaport reef atoll beaches"),
    ("kings", "king kings queen throne reign reigned royal crown kingdom prince"),
    ("government", "president minister government governor parliament elected election court council cabinet"),
    ("births and deaths", "birth births death deaths mortality fertility age male female population"),
    ("disease and the body", "health disease aids hiv sick ill illness physician body blood"),
)
"""Pairs of topics: a feature is of both, and each alone is half of it."""


def rules() -> list[Rule]:
    """A rule a feature."""
    return [
        topic(f"{one} and {other}", f"{words} {more}")
        for (one, words), (other, more) in zip(TOPICS[::2], TOPICS[1::2], strict=True)
    ]


def halves(rule: Rule) -> list[Rule]:
    """Either of the two topics of `rule`."""
    own = set(rule.options.words)
    return [topic(name, words) for name, words in TOPICS if set(words.split()) <= own]
