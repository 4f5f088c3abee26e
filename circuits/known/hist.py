"""How often has this token been seen? One layer that compares all tokens, and a lookup that is flat almost everywhere.

`x y x` against `z y x`: the last token has been seen twice, or once. The first token is compared with the last; the two
counts in question are what is put out there. The lookup saturates, so that a gradient says nothing of the tokens.
"""

from __future__ import annotations

import itertools

from circuits.known import Known, TracrModel
from data.words import Pair, Site

OUTPUT = "hist_7:"
SITES = (Site(0, "resid_pre"), Site(0))
LETTERS = ("a", "b", "c")
LEAVE_OUT = tuple(f"tokens:{x}" for x in LETTERS)


def pairs(model: TracrModel) -> list[Pair]:
    """Six pairs, whose answers are the counts 2 and 1."""
    roles = ("BOS", "first", "middle", "last")
    two, one = model.symbols().index("2"), model.symbols().index("1")
    prompts = [
        (tuple(model.encode(["BOS", x, y, x])), tuple(model.encode(["BOS", z, y, x])), f"{x}{y}{x}", f"{z}{y}{x}")
        for x, y, z in itertools.permutations(LETTERS)
    ]
    return [Pair(clean, counter, two, one, roles, text, other) for clean, counter, text, other in prompts]


def nodes() -> set[Known]:
    """The first token where it enters; both counts where the last one is put out."""
    return {(SITES[0], f"tokens:{x}", 1) for x in LETTERS} | {(SITES[1], f"hist_7:{n}", 3) for n in (1, 2)}


def edges() -> set[tuple[Known, Known]]:
    """From each token to each count."""
    return {(u, d) for u, d in itertools.product(nodes(), nodes()) if u[0] < d[0]}
