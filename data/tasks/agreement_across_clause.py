"""Subject-verb agreement across a relative clause: "The keys that the guard saw" -> " are", not " is".

The counterfactual changes the number of the subject alone. The clause has a noun of its own, of the other number in half
of the pairs, and a verb in the past, which shows no number. The setting of Marvin and Linzen 2018 (arXiv 1808.09031) and
of sparse feature circuits (arXiv 2403.19647, table 1), in words of our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from data.tasks import Template, Tokenize, words
from data.tasks._words import BE, NOUNS, PEOPLE

ROLES = ("The", "subject", "that", "the", "clause subject", "clause verb")
VERBS = ("saw", "knew", "found", "liked", "wanted", "loved", "needed", "remembered", "mentioned", "followed")


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end, repeats included."""
    nouns, people, past = words(tokenize, NOUNS), words(tokenize, PEOPLE), words(tokenize, VERBS)
    while True:
        subject, inside = rng.choice(nouns), rng.choice(people)
        if subject == inside:
            continue
        number, between = rng.randrange(2), rng.randrange(2)
        clause, verb = rng.choice(past), rng.choice(BE)
        yield Template(
            pieces=_pieces(subject[number], inside[between], clause),
            counter_pieces=_pieces(subject[1 - number], inside[between], clause),
            roles=ROLES,
            answer=verb[number],
            counter_answer=verb[1 - number],
        )


def _pieces(subject: str, inside: str, clause: str) -> Sequence[str]:
    return ("The", f" {subject}", " that", " the", f" {inside}", f" {clause}")
