"""Reverse a sequence: the first token waits at its own place until the last attention layer carries it to the end.

`x y z` against `w y z`: the last output is the first token. Three layers in between work out where each token must go, from
the length alone, which is the same in both.
"""

from __future__ import annotations

import itertools

from circuits.known import Known, TracrModel
from data.words import Pair, Site

OUTPUT = "aggregate_1:"
SITES = (Site(0, "resid_pre"), Site(0), Site(1), Site(2), Site(3))
NUMBERS = (1, 2, 3)
LEAVE_OUT = tuple(f"tokens:{x}" for x in NUMBERS)


def pairs(model: TracrModel) -> list[Pair]:
    """Twenty-four pairs, whose answers are the first tokens."""
    roles, place = ("BOS", "first", "second", "third"), model.symbols().index
    words = itertools.product(itertools.permutations(NUMBERS, 2), itertools.product((1, 2), (2, 3)))
    return [
        Pair(
            tuple(model.encode(["BOS", x, y, z])), tuple(model.encode(["BOS", w, y, z])), place(str(x)), place(str(w)),
            roles, f"{x}{y}{z}", f"{w}{y}{z}",
        )
        for (x, w), (y, z) in words
    ]  # fmt: skip


def nodes() -> set[Known]:
    """The first token at its own place, then at the end as the output."""
    waiting = {(site, f"tokens:{x}", 1) for site in SITES[:-1] for x in NUMBERS}
    return waiting | {(SITES[-1], f"aggregate_1:{x}", 3) for x in NUMBERS}


def edges() -> set[tuple[Known, Known]]:
    """Each token from site to site, and at last to the output that says it."""
    waits = {
        ((u, f"tokens:{x}", 1), (d, f"tokens:{x}", 1))
        for u, d in itertools.pairwise(SITES[:-1])
        for x in NUMBERS
    }  # fmt: skip
    return waits | {((SITES[-2], f"tokens:{x}", 1), (SITES[-1], f"aggregate_1:{x}", 3)) for x in NUMBERS}
