"""Subject-verb agreement across a prepositional phrase: "The keys near the cabinet" -> " are", not " is".

The counterfactual changes the number of the subject alone; the noun in between (the attractor) keeps its number, which
differs from the subject's in half of the pairs. The behaviour of Linzen, Dupoux and Goldberg 2016 (arXiv 1611.01368),
with the templates of the sparse-feature-circuits setting (arXiv 2403.19647, section 3) in words of our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from data.tasks import Template, Tokenize

METRIC = "logit difference"
ROLES = ("The", "subject", "preposition", "the", "attractor")

NOUNS = (
    ("key", "keys"), ("dog", "dogs"), ("teacher", "teachers"), ("doctor", "doctors"), ("student", "students"),
    ("book", "books"), ("car", "cars"), ("picture", "pictures"), ("friend", "friends"), ("farmer", "farmers"),
    ("tree", "trees"), ("house", "houses"), ("bird", "birds"), ("author", "authors"), ("window", "windows"),
    ("king", "kings"), ("boy", "boys"), ("girl", "girls"), ("letter", "letters"), ("road", "roads"),
    ("table", "tables"), ("ship", "ships"), ("soldier", "soldiers"), ("river", "rivers"), ("wall", "walls"),
    ("cat", "cats"), ("garden", "gardens"), ("machine", "machines"), ("driver", "drivers"), ("guard", "guards"),
    ("cup", "cups"), ("horse", "horses"), ("lawyer", "lawyers"), ("bridge", "bridges"), ("island", "islands"),
)  # fmt: skip
PREPOSITIONS = ("near", "behind", "beside", "by", "above")
VERBS = ((" is", " are"), (" was", " were"), (" has", " have"))


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end (repeats included), from the words that are one token each for this tokenizer."""
    nouns = [pair for pair in NOUNS if all(len(tokenize(f" {word}")) == 1 for word in pair)]
    prepositions = [word for word in PREPOSITIONS if len(tokenize(f" {word}")) == 1]
    verbs = [pair for pair in VERBS if all(len(tokenize(word)) == 1 for word in pair)]
    while len(nouns) > 1 and prepositions and verbs:
        subject, attractor = rng.sample(nouns, 2)
        number, between = rng.randrange(2), rng.randrange(2)
        preposition, verb = rng.choice(prepositions), rng.choice(verbs)
        yield Template(
            pieces=_pieces(subject[number], preposition, attractor[between]),
            counter_pieces=_pieces(subject[1 - number], preposition, attractor[between]),
            roles=ROLES,
            answer=verb[number],
            counter_answer=verb[1 - number],
        )


def _pieces(subject: str, preposition: str, attractor: str) -> Sequence[str]:
    return ("The", f" {subject}", f" {preposition}", " the", f" {attractor}")
