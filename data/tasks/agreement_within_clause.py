"""Subject-verb agreement within a relative clause: "The keys that the guards" -> " like", not " likes".

The counterfactual changes the number of the clause's subject; the noun before the clause keeps its own, which differs in
half of the pairs. The setting of Marvin and Linzen 2018 (arXiv 1808.09031) and of sparse feature circuits
(arXiv 2403.19647, table 1), in words of our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from data.tasks import Template, Tokenize, words
from data.tasks._words import NOUNS, PEOPLE

ROLES = ("The", "head", "that", "the", "subject")
VERBS = (
    (" likes", " like"), (" wants", " want"), (" needs", " need"), (" knows", " know"), (" uses", " use"),
    (" sees", " see"), (" has", " have"),
)  # fmt: skip


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end, repeats included."""
    nouns, people = words(tokenize, NOUNS), words(tokenize, PEOPLE)
    while True:
        head, subject = rng.choice(nouns), rng.choice(people)
        if head == subject:
            continue
        number, before, verb = rng.randrange(2), rng.randrange(2), rng.choice(VERBS)
        yield Template(
            pieces=_pieces(head[before], subject[number]),
            counter_pieces=_pieces(head[before], subject[1 - number]),
            roles=ROLES,
            answer=verb[number],
            counter_answer=verb[1 - number],
        )


def _pieces(head: str, subject: str) -> Sequence[str]:
    return ("The", f" {head}", " that", " the", f" {subject}")
