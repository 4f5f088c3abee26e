"""Indirect object identification: "When Mary and John went to the store, John gave a ball to" -> " Mary".

The answer is the name that is not repeated. The counterfactual repeats the other one, so that its answer is the other
name; which of the two comes first is drawn. The behaviour of Wang et al. 2022 (arXiv 2211.00593), in words of our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from data.tasks import Template, Tokenize, words
from data.tasks._words import MEN, WOMEN

ROLES = ("When", "first name", "and", "second name", "scene", ",", "giver", "gift", "to")
PLACES = ("store", "park", "school", "house", "station", "office", "garden", "market", "library", "beach")
VERBS = ("gave", "handed", "offered", "brought")
GIFTS = ("ball", "book", "drink", "letter", "key", "ring", "flower", "picture", "ticket", "box")


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end, repeats included."""
    names, places, gifts = words(tokenize, WOMEN + MEN), words(tokenize, PLACES), words(tokenize, GIFTS)
    verbs = words(tokenize, VERBS, 2)
    while True:
        first, second = rng.sample(names, 2)
        scene = f" went to the {rng.choice(places)}"
        gift = f" {rng.choice(verbs)} a {rng.choice(gifts)}"
        giver, other = rng.sample((first, second), 2)
        yield Template(
            pieces=_pieces(first, second, scene, giver, gift),
            counter_pieces=_pieces(first, second, scene, other, gift),
            roles=ROLES,
            answer=f" {other}",
            counter_answer=f" {giver}",
        )


def _pieces(first: str, second: str, scene: str, giver: str, gift: str) -> Sequence[str]:
    return ("When", f" {first}", " and", f" {second}", scene, ",", f" {giver}", gift, " to")
