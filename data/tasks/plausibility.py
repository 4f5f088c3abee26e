"""Cause or result: "That day Tom was bored so he" -> " decided", but with " because" in its place -> " never".

The connective says whether a result or a cause must follow; the answer is a word that begins a plausible one. The
counterfactual has the other connective. After the choice of plausible alternatives of Roemmele, Bejan and Gordon 2011
(COPA), cut down to one token and in words of our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from data.tasks import Template, Tokenize, words
from data.tasks._words import MEN, WOMEN

ROLES = ("opening", "name", "premise", "connective", "pronoun")
STATES = (
    "hungry", "tired", "late", "sick", "angry", "happy", "sad", "thirsty", "worried", "bored", "cold", "afraid",
    "excited", "lonely", "proud", "nervous", "busy", "scared", "upset", "curious", "confused",
)  # fmt: skip
ANSWERS = (
    (" wanted", " decided"), (" never", " decided"), (" knew", " decided"), (" never", " went"), (" never", " took"),
    (" always", " started"), (" couldn", " went"), (" couldn", " decided"),
)  # fmt: skip
"""The beginning of a cause, and of a result."""
CONNECTIVES = (" because", " so")


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end, repeats included."""
    states = words(tokenize, STATES)
    people = [(name, pronoun) for group, pronoun in ((WOMEN, " she"), (MEN, " he")) for name in words(tokenize, group)]
    while True:
        (name, pronoun), state = rng.choice(people), rng.choice(states)
        answers, side = rng.choice(ANSWERS), rng.randrange(2)
        yield Template(
            pieces=_pieces(name, state, CONNECTIVES[side], pronoun),
            counter_pieces=_pieces(name, state, CONNECTIVES[1 - side], pronoun),
            roles=ROLES,
            answer=answers[side],
            counter_answer=answers[1 - side],
        )


def _pieces(name: str, state: str, connective: str, pronoun: str) -> Sequence[str]:
    return ("That day", f" {name}", f" was {state}", connective, pronoun)
