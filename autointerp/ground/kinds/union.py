"""Features with two unrelated meanings."""

from __future__ import annotations

from autointerp.ground.making import any_of, topic, words
from autointerp.rule import Rule


def rules() -> list[Rule]:
    """A rule a feature."""
    return [
        any_of(words("january march april june july september october"), words("hand head eyes face feet")),
        any_of(words("king kings queen"), words("percent rate ratio total average")),
        any_of(words("gold silver brass iron"), words("thought felt wished hoped supposed")),
        any_of(words("sheep oxen horses lambs ass cattle"), words("miss mrs mr")),
        any_of(words("letter letters note"), words("wall door gate house window")),
        any_of(
            words("bread wine drink eat water"),
            topic("computers", "hackers hacker program code computer unix system user"),
        ),
        any_of(words("above below under over"), words("friend friends friendship")),
    ]
