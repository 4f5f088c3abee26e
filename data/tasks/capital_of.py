"""The capital of a country: "The capital of France is the city of" -> " Paris".

The counterfactual names another country. A country may be several tokens: prompts are then compared by role. A behaviour
of Merullo et al. 2023 (arXiv 2305.16130), in words of our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from data.tasks import Template, Tokenize

ROLES = ("opening", "country", "closing")
CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "China": "Beijing",
    "Russia": "Moscow", "England": "London", "Egypt": "Cairo", "Greece": "Athens", "Austria": "Vienna", "Cuba": "Havana",
    "Ireland": "Dublin", "Portugal": "Lisbon", "Poland": "Warsaw", "Hungary": "Budapest", "Sweden": "Stockholm",
    "Norway": "Oslo", "Denmark": "Copenhagen", "Belgium": "Brussels", "Canada": "Ottawa", "Kenya": "Nairobi",
    "Iraq": "Baghdad", "Iran": "Tehran", "Syria": "Damascus", "Lebanon": "Beirut", "India": "Delhi", "Peru": "Lima",
    "Thailand": "Bangkok", "Ukraine": "Kiev", "Scotland": "Edinburgh", "Finland": "Helsinki", "Turkey": "Ankara",
    "Afghanistan": "Kabul", "South Korea": "Seoul", "North Korea": "Pyongyang", "Saudi Arabia": "Riyadh",
    "the Czech Republic": "Prague", "the Philippines": "Manila", "the Netherlands": "Amsterdam",
    "Bulgaria": "Sofia", "Serbia": "Belgrade", "Venezuela": "Caracas", "Jamaica": "Kingston",
    "Indonesia": "Jakarta", "Libya": "Tripoli", "Somalia": "Mogadishu", "Vietnam": "Hanoi",
}  # fmt: skip
FRAMES = (
    ("The capital of", " is the city of"),
    ("The capital city of", " is called"),
    ("Everyone knows that the capital of", " is"),
    ("The government of", " has its seat in the capital,"),
    ("The national museum of", " stands in the capital,"),
    ("Those who travel to", " should visit its capital,"),
    ("The largest university in", " is found in the capital city of"),
    ("A map of", " shows the capital,"),
    ("Every king and president of", " has lived in the capital,"),
)


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end, repeats included."""
    known = [c for c in CAPITALS if len(tokenize(f" {CAPITALS[c]}")) == 1]
    while len(known) > 1:
        country, other = rng.sample(known, 2)
        frame = rng.choice(FRAMES)
        yield Template(
            pieces=_pieces(frame, country),
            counter_pieces=_pieces(frame, other),
            roles=ROLES,
            answer=f" {CAPITALS[country]}",
            counter_answer=f" {CAPITALS[other]}",
        )


def _pieces(frame: Sequence[str], country: str) -> Sequence[str]:
    return (frame[0], f" {country}", frame[1])
