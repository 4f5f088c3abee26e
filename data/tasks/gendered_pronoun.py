"""The pronoun of a name: "So Mary is a really good friend, isn't" -> " she", not " he".

The counterfactual has a name of the other gender. The behaviour of Mathwin et al. 2023 (*Identifying a preliminary
circuit for predicting gendered pronouns in GPT-2 small*), in words of our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from data.tasks import Template, Tokenize, words
from data.tasks._words import MEN, WOMEN

ROLES = ("So", "name", "praise", "tag")
ADJECTIVES = ("good", "great", "fine", "bad", "kind", "clever", "nice", "strange")
NOUNS = ("friend", "doctor", "teacher", "singer", "driver", "writer", "student", "neighbor", "cook", "player")
PRONOUNS = (" she", " he")


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end, repeats included."""
    names = [words(tokenize, group) for group in (WOMEN, MEN)]
    adjectives, nouns = words(tokenize, ADJECTIVES, 4), words(tokenize, NOUNS, 4)
    while True:
        gender = rng.randrange(2)
        praise = f" is a really {rng.choice(adjectives)} {rng.choice(nouns)}"
        yield Template(
            pieces=_pieces(rng.choice(names[gender]), praise),
            counter_pieces=_pieces(rng.choice(names[1 - gender]), praise),
            roles=ROLES,
            answer=PRONOUNS[gender],
            counter_answer=PRONOUNS[1 - gender],
        )


def _pieces(name: str, praise: str) -> Sequence[str]:
    return ("So", f" {name}", praise, ", isn't")
