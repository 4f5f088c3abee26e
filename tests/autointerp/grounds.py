"""A short text for planting features in, and judges that know the truth."""

from __future__ import annotations

import random

FEATURES = """king house people heart father land mother brother sister son daughter two three four five six seven white
black red blue green yellow"""
FILLER = """the a of and to in it was that he for on with as at by from this which or an were been their has would what when
there can more if no out so up into them then some could time only other new than now over such after also well"""
SHARE = 0.3
"""Share of words that are words of features."""


def sentences(documents: int, words: int, seed: int = 0) -> list[list[str]]:
    """Documents of words drawn one by one: nothing but single words tells features apart in them."""
    draw = random.Random(seed)
    return [
        [f" {draw.choice((FEATURES if draw.random() < SHARE else FILLER).split())}" for _ in range(words)]
        for _ in range(documents)
    ]
