"""Greater than: "The war lasted from the year 1732 to the year 17" -> "4", but from 1778 -> "8".

A span of years must end after it begins. One prompt of a pair begins early in the century, the other late: the answer of
the first is impossible in the second, and that of the second is possible in both, but far from the first one's year. An
answer is two digits where these are one token, and otherwise the first of them. The behaviour of Hanna et al. 2023
(arXiv 2305.00586), in words of our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from data.tasks import Template, Tokenize, words

ROLES = ("The", "event", "from", "century", "year", "to", "century again")
EVENTS = ("war", "project", "journey", "festival", "campaign", "trial", "dispute", "reign", "voyage", "construction")
CENTURIES = ("11", "12", "13", "14", "15", "16", "17", "18")


def templates(tokenize: Tokenize, rng: random.Random) -> Iterator[Template]:
    """Pairs without end, repeats included."""
    events = words(tokenize, EVENTS, 4)
    digits = 2 if len(tokenize("41")) == 1 else 1
    while True:
        early, late = rng.randrange(2, 45), rng.randrange(65, 89)
        event, century = rng.choice(events), rng.choice(CENTURIES)
        sides = [(early, f"{early + 10:02}"[:digits]), (late, f"{late + 10:02}"[:digits])]
        rng.shuffle(sides)
        (year, answer), (counter_year, counter_answer) = sides
        yield Template(
            pieces=_pieces(event, century, year),
            counter_pieces=_pieces(event, century, counter_year),
            roles=ROLES,
            answer=answer,
            counter_answer=counter_answer,
        )


def _pieces(event: str, century: str, year: int) -> Sequence[str]:
    return ("The", f" {event}", " lasted from the year", f" {century}", f"{year:02}", " to the year", f" {century}")
