"""Subject-verb agreement across a prepositional phrase: "The keys near the cabinet" -> " are", not " is".

The counterfactual changes the number of the subject alone; the noun in between (the attractor) keeps its number, which
differs from the subject's in half of the pairs. The behaviour of Linzen, Dupoux and Goldberg 2016 (arXiv 1611.01368),
with the templates of the sparse-feature-circuits setting (arXiv 2403.19647, section 3) in words of our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from data.tasks import Template, Tokenize, words
from data.tasks._words import BE, NOUNS

ROLES = ("The", "subject", "preposition", "the", "attractor")
PREPOSITIONS = ("near", "behind", "beside", "by", "above")


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end, repeats included."""
    nouns, prepositions = words(tokenize, NOUNS), words(tokenize, PREPOSITIONS, 2)
    while True:
        subject, attractor = rng.sample(nouns, 2)
        number, between = rng.randrange(2), rng.randrange(2)
        preposition, verb = rng.choice(prepositions), rng.choice(BE)
        yield Template(
            pieces=_pieces(subject[number], preposition, attractor[between]),
            counter_pieces=_pieces(subject[1 - number], preposition, attractor[between]),
            roles=ROLES,
            answer=verb[number],
            counter_answer=verb[1 - number],
        )


def _pieces(subject: str, preposition: str, attractor: str) -> Sequence[str]:
    return ("The", f" {subject}", f" {preposition}", " the", f" {attractor}")
