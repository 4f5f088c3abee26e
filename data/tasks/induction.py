"""Induction: " apple river stone ... apple river" -> " stone", words drawn at random.

A list of words begins again, and the next one is the one that followed before. The counterfactual has another word in
that place, and so another answer. The behaviour of Olsson et al. 2022 (arXiv 2209.11895), on words that a person can read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from data.tasks import Template, Tokenize, words
from data.tasks._words import PLAIN

ROLES = ("before", "first", "next", "between", "repeated", "again")


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end, repeats included."""
    plain = words(tokenize, PLAIN)
    while True:
        *list_words, after, instead = rng.sample(plain, 9)
        yield Template(
            pieces=_pieces(list_words, after),
            counter_pieces=_pieces(list_words, instead),
            roles=ROLES,
            answer=f" {after}",
            counter_answer=f" {instead}",
        )


def _pieces(list_words: Sequence[str], after: str) -> Sequence[str]:
    before, first, between = f" {list_words[0]} {list_words[1]}", f" {list_words[2]}", " " + " ".join(list_words[3:])
    return (before, first, f" {after}", between, before, first)
