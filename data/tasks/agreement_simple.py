"""Subject-verb agreement with the subject last: "The old keys" -> " are", not " is".

The counterfactual changes the number of the subject. The simplest of the agreement settings of Marvin and Linzen 2018
(arXiv 1808.09031) and of sparse feature circuits (arXiv 2403.19647, table 1), in words of our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from data.tasks import Template, Tokenize, words
from data.tasks._words import BE, NOUNS

ROLES = ("The", "adjective", "subject")
ADJECTIVES = ("old", "new", "small", "big", "young", "other", "beautiful", "strange", "first", "last", "little", "good")


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end, repeats included."""
    nouns, adjectives = words(tokenize, NOUNS), words(tokenize, ADJECTIVES)
    while True:
        adjective, noun, verb = rng.choice(adjectives), rng.choice(nouns), rng.choice(BE)
        number = rng.randrange(2)
        yield Template(
            pieces=("The", f" {adjective}", f" {noun[number]}"),
            counter_pieces=("The", f" {adjective}", f" {noun[1 - number]}"),
            roles=ROLES,
            answer=verb[number],
            counter_answer=verb[1 - number],
        )
