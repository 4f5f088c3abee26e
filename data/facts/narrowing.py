"""Filters features by facets, counts what each value of each facet would show, and orders them.

1. `fitting` is a mask over all features: each active facet gives one, and all must hold.
2. `counted` gives the number beside each value of a facet: the features that fit all *other* facets and have it, so a
   value's number is what choosing it alone would show.
3. `ordered` are the rows that fit, in the order asked for; equal ones by site, dictionary and latent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from data.errors import unknown
from data.facts.columns import Facts, Members
from data.facts.facets import ANY, DENSE, NONE, STATES, Facets, Range

Mask = Bool[np.ndarray, " features"]
DENSITIES = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
ACTIVATIONS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
SCORES = (-0.1, 0.0, 0.1, 0.2, 0.3)
BINS = {"density": DENSITIES, "activation": ACTIVATIONS, "score": SCORES}
"""Where the ranges offered begin; the last has no end, the first of `score` has no beginning."""
MEMBERS: dict[str, tuple[str, Callable[[Facts], Members]]] = {
    "scorer": ("scorer", lambda facts: facts.said.scorers),
    "explainer": ("explainer", lambda facts: facts.said.explainers),
    "author": ("author of labels", lambda facts: facts.labelled.authors),
    "circuit": ("circuit with features", lambda facts: facts.placed.circuits),
    "list": ("list with features", lambda facts: facts.labelled.lists),
}
"""Facets of which a feature can have several values: what one is called, and where they are."""


@dataclass(frozen=True)
class Count:
    """How many features choosing a value would show."""

    value: str
    """As the facet holds it: a name, `any`, `none`, or a range as it is written."""
    count: int


def fitting(facts: Facts, facets: Facets, but: str = "") -> Mask | None:
    """The features that fit all facets except `but`; None when all do. Raises `Mistake` for a name that is not known."""
    masks = [_mask(facts, facets, name) for name in facets.active if name != but]
    if not masks:
        return None
    return functools.reduce(np.logical_and, masks)


def ordered(facts: Facts, facets: Facets) -> Int[np.ndarray, " fitting"]:
    """The rows of the features that fit, in order."""
    order, mask = _order(facts, facets), fitting(facts, facets)
    return order if mask is None else order[mask[order]]


def counted(facts: Facts, facets: Facets) -> dict[str, list[Count]]:
    """The values of each facet with their counts."""
    plain = replace(facets, sort=Facets.sort)
    return facts.remember(("counted", plain), lambda: {name: _counts(facts, plain, name) for name in _FACETS})


@dataclass(frozen=True)
class Chosen:
    """The text and the score of each feature that a list shows, -1 where there is none: the best score by the explainers
    and scorers asked for, and the text that it is of; a text that holds what is looked for comes before others."""

    text: Int[np.ndarray, " features"]
    score: Int[np.ndarray, " features"]

    def of(self, facts: Facts, name: str) -> Float[np.ndarray, " features"]:
        """The column `name` of the scores chosen; NaN without one."""
        column = np.append(getattr(facts.said, name), np.nan)
        return column[self.score]


def chosen(facts: Facts, facets: Facets) -> Chosen:
    """What is shown of each feature."""
    return facts.remember(("chosen", *_asked(facets)), lambda: _choice(facts, facets))


def _asked(facets: Facets) -> tuple[object, ...]:
    """The facets on which the score of a feature depends."""
    return facets.explainer, facets.scorer, facets.text


def _choice(facts: Facts, facets: Facets) -> Chosen:
    said = facts.said
    allowed = _allowed(facts, facets)
    score = _first(_scored(facts), _kept(facts, facets, allowed), len(facts))
    text = _first(said.row, allowed, len(facts))
    return Chosen(np.where(score >= 0, np.append(said.about, -1)[score], text).astype(np.int32), score)


def _allowed(facts: Facts, facets: Facets) -> np.ndarray:
    """The texts that may be shown."""
    said = facts.said
    allowed = _named_only(said.explainer, said.explainers, facets.explainer)
    if facets.text:
        hit = allowed & _hits(facts, "said", facets.text)
        has = np.zeros(len(facts), dtype=bool)
        has[said.row[hit]] = True
        allowed &= hit | ~has[said.row]
    return allowed


def _kept(facts: Facts, facets: Facets, allowed: np.ndarray) -> np.ndarray:
    """The scores that may be shown."""
    said = facts.said
    return allowed[said.about] & _named_only(said.scorer, said.scorers, facets.scorer)


def _scored(facts: Facts) -> np.ndarray:
    """The feature of each score."""
    return facts.remember(("scored",), lambda: facts.said.row[facts.said.about])


def _named_only(code: np.ndarray, members: Members, wanted: Sequence[str]) -> np.ndarray:
    """Where `code` is one of those asked for by name; everywhere when none is."""
    named = [code == members.names.index(one) for one in wanted if one in members.names]
    return functools.reduce(np.logical_or, named) if named else np.ones(len(code), dtype=bool)


def _first(row: np.ndarray, keep: np.ndarray, size: int) -> np.ndarray:
    """The first place of each row among those kept, -1 without one; `row` ascends."""
    places = np.flatnonzero(keep)
    places = places[np.diff(row[places], prepend=-1) > 0]
    found = np.full(size, -1, dtype=np.int32)
    found[row[places]] = places
    return found


def _hits(facts: Facts, part: str, text: str) -> np.ndarray:
    """Which texts of a part hold `text`, taken as it is, in upper or lower case."""
    options = pc.MatchSubstringOptions(text, ignore_case=True)
    texts = getattr(facts, part).text
    return facts.remember(
        ("hits", part, text), lambda: pc.call_function("match_substring", [texts], options).to_numpy()
    )


# Masks ---------------------------------------------------------------------------------------------------------------


def _mask(facts: Facts, facets: Facets, name: str) -> Mask:
    """The features that fit one facet."""
    asked = _asked(facets) if name == "score" else ()
    return facts.remember(("mask", name, getattr(facets, name), *asked), lambda: _made(facts, facets, name))


def _made(facts: Facts, facets: Facets, name: str) -> Mask:
    wanted = getattr(facets, name)
    if name in MEMBERS:
        what, of = MEMBERS[name]
        return _having(of(facts), wanted, len(facts), what)
    if name in BINS:
        return _within(_value(facts, facets, name), wanted)
    if name == "dictionary":
        return np.isin(facts.base.code, [_code(facts.base.dictionaries, one, "dictionary") for one in wanted])
    if name == "state":
        return np.isin(_states(facts), [list(STATES).index(one) for one in wanted])
    return _holding(facts, wanted) if name == "text" else facts.said.contested


def _having(members: Members, wanted: Sequence[str], size: int, what: str) -> Mask:
    named = [_code(members.names, one, what) for one in wanted if one not in (ANY, NONE)]
    mask = members.having(size, named) if named else np.zeros(size, dtype=bool)
    if ANY in wanted or NONE in wanted:
        some = members.having(size)
        mask |= (some if ANY in wanted else False) | (~some if NONE in wanted else False)
    return mask


def _code(names: Sequence[str], name: str, what: str) -> int:
    if name not in names:
        raise unknown(what, name, names)
    return names.index(name)


def _within(values: Float[np.ndarray, " features"], wanted: Range) -> Mask:
    mask = ~np.isnan(values)
    if wanted.low is not None:
        mask &= values >= wanted.low
    if wanted.high is not None:
        mask &= values < wanted.high
    return mask


def _holding(facts: Facts, text: str) -> Mask:
    mask = np.zeros(len(facts), dtype=bool)
    for part in ("said", "labelled"):
        mask[getattr(facts, part).row[_hits(facts, part, text)]] = True
    return mask


def _value(facts: Facts, facets: Facets, name: str) -> Float[np.ndarray, " features"]:
    """What a facet with a range is about."""
    if name == "score":
        return chosen(facts, facets).of(facts, "difference")
    return facts.base.density if name == "density" else facts.base.maximum


def _states(facts: Facts) -> Int[np.ndarray, " features"]:
    """The number in `STATES` of each feature's state."""

    def make() -> np.ndarray:
        density = facts.base.density
        return np.where(density == 0, 1, np.where(density > DENSE, 2, 0)).astype(np.int8)

    return facts.remember(("states",), make)


# Counts --------------------------------------------------------------------------------------------------------------

_FACETS = (
    "dictionary",
    "state",
    "density",
    "activation",
    "score",
    "scorer",
    "explainer",
    "author",
    "circuit",
    "list",
    "contested",
)


def _counts(facts: Facts, facets: Facets, name: str) -> list[Count]:
    if name in ("explainer", "scorer") and facets.score:
        return _rescored(facts, facets, name)
    mask = fitting(facts, facets, but=name)
    if name in MEMBERS:
        return _members(MEMBERS[name][1](facts), mask, len(facts))
    if name in BINS:
        return _bins(facts, facets, name, mask)
    if name == "dictionary":
        return _named(facts.base.dictionaries, facts.base.code, mask)
    if name == "state":
        return _named(list(STATES), _states(facts), mask)
    contested = facts.said.contested if mask is None else facts.said.contested & mask
    return [Count("yes", int(contested.sum()))]


def _named(names: Sequence[str], code: np.ndarray, mask: Mask | None) -> list[Count]:
    counts = np.bincount(code if mask is None else code[mask], minlength=len(names))
    return [Count(name, count) for name, count in zip(names, counts.tolist(), strict=True)]


def _members(members: Members, mask: Mask | None, size: int) -> list[Count]:
    every = size if mask is None else int(mask.sum())
    some = members.having(size)
    having = int(some.sum() if mask is None else (some & mask).sum())
    named = zip(members.names, members.counts(mask), strict=True)
    return [Count(ANY, having), Count(NONE, every - having), *(Count(name, count) for name, count in named)]


def _rescored(facts: Facts, facets: Facets, name: str) -> list[Count]:
    """Where a range of scores is asked for, another explainer or scorer is another best score of each feature."""
    others = fitting(facts, replace(facets, score=Range()), but=name)
    members = MEMBERS[name][1](facts)
    found = [Count(ANY, _in_range(facts, replace(facets, **{name: ()}), others)), Count(NONE, 0)]
    return found + [Count(n, _in_range(facts, replace(facets, **{name: (n,)}), others)) for n in members.names]


def _in_range(facts: Facts, facets: Facets, others: Mask | None) -> int:
    """How many features have their best score in the range asked for, and are among `others`."""
    row = _scored(facts)
    places = np.flatnonzero(_kept(facts, facets, _allowed(facts, facets)))
    places = places[np.diff(row[places], prepend=-1) > 0]
    places = places[_within(facts.said.difference[places], facets.score)]
    return len(places) if others is None else int(others[row[places]].sum())


def _bins(facts: Facts, facets: Facets, name: str, mask: Mask | None) -> list[Count]:
    values = _value(facts, facets, name)
    edges = np.array(BINS[name])
    asked = _asked(facets) if name == "score" else ()

    def make() -> np.ndarray:
        place = np.zeros(len(values), dtype=np.int8)
        known = np.flatnonzero(~np.isnan(values))
        place[known] = np.searchsorted(edges, values[known], side="right") + 1
        return place

    place = facts.remember(("bins", name, *asked), make)
    counts = np.bincount(place if mask is None else place[mask], minlength=len(edges) + 2).tolist()
    ends = [None, *BINS[name], None]
    ranges = [Range(ends[n], ends[n + 1]) for n in range(len(ends) - 1)]
    found = [Count(str(r), count) for r, count in zip(ranges, counts[1:], strict=True)]
    return found if name == "score" else found[1:]


# Orders --------------------------------------------------------------------------------------------------------------


def _order(facts: Facts, facets: Facets) -> Int[np.ndarray, " features"]:
    """All rows, in order."""
    name = facets.sort.removeprefix("-")
    asked = _asked(facets) if name in ("score", "above control") else ()
    return facts.remember(("order", facets.sort, *asked), lambda: _sorted(facts, facets, name))


def _sorted(facts: Facts, facets: Facets, name: str) -> Int[np.ndarray, " features"]:
    columns: dict[str, Callable[[], np.ndarray]] = {
        "max activation": lambda: facts.base.maximum,
        "density": lambda: facts.base.density,
        "latent": lambda: np.arange(len(facts)),
        "circuits": lambda: np.where(facts.placed.many > 0, facts.placed.many, np.nan),
        "effect": lambda: facts.placed.effect,
        "score": lambda: chosen(facts, facets).of(facts, "value"),
        "above control": lambda: chosen(facts, facets).of(facts, "difference"),
    }
    values = columns[name]()
    absent = np.isnan(values)
    present = np.flatnonzero(~absent)
    keys = -values[present] if facets.sort.startswith("-") else values[present]
    order = present[np.argsort(keys, kind="stable")]
    return np.concatenate([order, np.flatnonzero(absent)]).astype(np.int32)
