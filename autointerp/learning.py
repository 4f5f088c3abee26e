"""Learns the executable rule that best says where a feature fires.

1. Each kind of rule that can be learnt proposes options from what stands at, before and around the firings of the
   `explain` half (`Seen`), by counts alone.
2. Each proposal is run over that half. Of each kind the best by F1 (or by mutual information with the firings) is taken,
   and of these the `beam` best are joined in pairs, as both, either, or one without the other, where that does better.
3. The best stays. F1 and information are those of all tokens, at the rate at which the feature really fires: on balanced
   samples a rule that fires much too often would look good.

F1 = 2 hits / (fired + said), the harmonic mean of precision hits / said and recall hits / fired (van Rijsbergen 1979).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from autointerp.examples import Reader
from autointerp.index import Index, Units, indexed, places_of
from autointerp.rule import RULES, Rule
from data import parts

LEAST = 2
"""Firings that a token, word or affix must meet to be in a rule."""
GAIN = 0.005
"""A further token is in a rule when it raises F1 by this much: a rule should be short."""
BETTER = 1.05
"""Two rules are joined where that raises F1 (or the information) by this factor."""
GROUPS = 2000
"""Documents that are drawn one by one at the most."""
AFFIX = 5
"""Letters in an affix at the most."""


@dataclass(frozen=True)
class Affixes:
    """The beginnings and ends of a vocabulary: a number for each, and which units' numbers have it."""

    names: list[tuple[str, str]]
    """Each as (prefix or suffix, letters)."""
    unit: Int[np.ndarray, " pairs"]
    affix: Int[np.ndarray, " pairs"]
    """Pairs of a unit's number and an affix's number."""


@dataclass(frozen=True)
class Half:
    """The documents that a rule is learnt from, as places of the index, and counts that all features share."""

    index: Index
    rows: Bool[np.ndarray, " documents"]
    """Which documents of the harvest it has."""
    _kept: dict[Any, Any] = field(default_factory=dict)

    def keep(self, name: str, make: Any, *key: Any) -> Any:
        """What `make(*key)` gives, made once."""
        if (name, *key) not in self._kept:
            self._kept[name, *key] = make(*key)
        return self._kept[name, *key]

    @functools.cached_property
    def inside(self) -> Bool[np.ndarray, " places"]:
        """Which places are in one of them."""
        return self.index.inside(self.rows)

    @functools.cached_property
    def groups(self) -> int:
        """How many groups its documents are drawn in when numbers are computed again: one each, or `GROUPS`."""
        return max(min(int(self.rows.sum()), GROUPS), 1)

    @functools.cached_property
    def group(self) -> Int[np.ndarray, " documents"]:
        """The group of each document of the harvest; those of the other half have one that means nothing."""
        return (np.cumsum(self.rows) - 1) % self.groups

    @functools.cached_property
    def tokens(self) -> int:
        """How many tokens it has."""
        return int(self.inside.sum())

    def places(self, rule: Rule) -> Int[np.ndarray, " places"]:
        """Where `rule` fires in it."""
        places = places_of(rule, self.index)
        return places[self.inside[places]]

    def members(self, unit: str, fold: bool) -> Int[np.ndarray, " units"]:
        """The units that are in this half."""

        def make(*_: Any) -> np.ndarray:
            return np.flatnonzero(self.inside[self.index.units(unit, fold).last])

        return self.keep("members", make, unit, fold)

    def total(self, unit: str, fold: bool) -> Int[np.ndarray, " vocabulary"]:
        """How often each unit occurs."""

        def make(*_: Any) -> np.ndarray:
            units = self.index.units(unit, fold)
            return np.bincount(units.ids[self.members(unit, fold)], minlength=len(units.vocabulary))

        return self.keep("total", make, unit, fold)

    def total_after(self, unit: str, fold: bool) -> Int[np.ndarray, " vocabulary"]:
        """How many units follow each unit in its document."""

        def make(*_: Any) -> np.ndarray:
            units = self.index.units(unit, fold)
            before = units.before[self.members(unit, fold)]
            return np.bincount(before[before >= 0], minlength=len(units.vocabulary))

        return self.keep("after", make, unit, fold)

    def affixes(self, unit: str) -> Affixes:
        """The affixes of the folded vocabulary."""
        return self.keep("affixes", lambda name: _affixes(self.index.units(name, True).vocabulary), unit)

    def affix_total(self, unit: str) -> Int[np.ndarray, " affixes"]:
        """How often each affix occurs."""

        def make(*_: Any) -> np.ndarray:
            found = self.affixes(unit)
            counts = self.total(unit, True)[found.unit]
            return np.bincount(found.affix, counts, minlength=len(found.names)).astype(np.int64)

        return self.keep("affix total", make, unit)


@dataclass(frozen=True)
class Seen:
    """A feature's firings in a half: the sorted places at which it fires."""

    half: Half
    fired: Int[np.ndarray, " fired"]
    most: int = 8
    """Members of a rule's set of tokens, at the most."""

    def units(self, unit: str, fold: bool) -> Units:
        """The tokens or words of the harvest."""
        return self.half.index.units(unit, fold)

    def at(self, unit: str, fold: bool) -> Int[np.ndarray, " units"]:
        """The units on (the last token of) which it fires."""
        return self.units(unit, fold).at(self.fired)

    @functools.cached_property
    def mask(self) -> Bool[np.ndarray, " places"]:
        """Whether it fires, at each place."""
        mask = np.zeros(len(self.half.index), dtype=bool)
        mask[self.fired] = True
        return mask


@dataclass(frozen=True)
class Learnt:
    """A rule with what it does on the half it was learnt from: it fires on `said` tokens, on `hits` of them rightly."""

    rule: Rule
    hits: int
    said: int
    fired: int
    tokens: int

    @property
    def f1(self) -> float:
        return 2 * self.hits / max(self.said + self.fired, 1)

    @property
    def information(self) -> float:
        """Mutual information of "the rule fires" and "the feature fires" at a token, in bits."""
        table = np.array([[self.hits, self.said - self.hits], [self.fired - self.hits, 0]], dtype=float)
        table[1, 1] = self.tokens - table.sum()
        joint = table / self.tokens
        alone = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        return float(np.sum(joint[joint > 0] * np.log2(joint[joint > 0] / alone[joint > 0])))

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"text": self.rule.text, "rule": self.rule.record(), "f1": round(self.f1, 4)}


def half_of(reader: Reader, half: str) -> Half:
    """The documents of `half` (of the reader's own division), kept with what was counted in them."""
    rows = np.array([reader.half[d] == half for d in indexed(reader.source).documents.tolist()], dtype=bool)
    return _half(reader.source, rows.tobytes())


@functools.lru_cache(maxsize=4)
def _half(source: tuple[str, ...], rows: bytes) -> Half:
    return Half(indexed(source), np.frombuffer(rows, dtype=bool))


def seen_of(reader: Reader, latent: int, half: str = "explain", most: int = Seen.most) -> Seen:
    """The firings of `latent` in `half`."""
    there = half_of(reader, half)
    firings = reader.firings(latent)
    places = there.index.places(firings.document, firings.position)
    return Seen(there, places[there.inside[places]], most)


def learn(seen: Seen, *, by: str = "f1", beam: int = 4) -> list[Learnt]:
    """The best rules of a feature, best first, each kind's best at the least; empty when no kind finds any."""
    found = [tried(Rule(kind, options), seen) for kind, options in _proposals(seen)]
    order = sorted((one for one in found if one.hits), key=lambda one: -getattr(one, by))
    kinds = {one.rule.kind: one for one in reversed(order)}
    finest = sorted(kinds.values(), key=lambda one: -getattr(one, by))[:beam]
    joined = pairs(finest, by, seen)
    return sorted([*order, *joined], key=lambda one: -getattr(one, by))


def tried(rule: Rule, seen: Seen) -> Learnt:
    """`rule` run over the half."""
    places = _places(rule, seen)
    return Learnt(rule, int(seen.mask[places].sum()), len(places), len(seen.fired), seen.half.tokens)


def _places(rule: Rule, seen: Seen) -> Int[np.ndarray, " places"]:
    """Where it fires in the half; kinds whose proposals are the same for all features are run once."""
    fixed = getattr(rule.part, "FIXED", False)
    return seen.half.keep("rule", seen.half.places, rule) if fixed else seen.half.places(rule)


def _proposals(seen: Seen) -> Iterator[tuple[str, Any]]:
    for kind in parts.names(RULES):
        part = parts.load(RULES, kind)
        if hasattr(part, "learn"):
            yield from ((kind, options) for options in part.learn(seen))


def pairs(best: list[Learnt], by: str, seen: Seen, better: float = BETTER) -> Iterator[Learnt]:
    """Pairs of rules as one, where that does better than both by the factor `better`."""
    places = {one.rule: _places(one.rule, seen) for one in best}
    for one, other in itertools.combinations(best, 2):
        both = _common(places[one.rule], places[other.rule])
        for found in _joined(one, other, len(both), int(seen.mask[both].sum())):
            if getattr(found, by) > better * max(getattr(one, by), getattr(other, by)):
                yield found


def _joined(one: Learnt, other: Learnt, said: int, hits: int) -> Iterator[Learnt]:
    """Either, both, and each without the other, of two rules that agree at `said` tokens, rightly at `hits`."""
    from autointerp.rules import conjunction, near_miss, union

    pair = (one.rule, other.rule)
    either = Rule("union", union.Options(pair))
    yield replace(one, rule=either, hits=one.hits + other.hits - hits, said=one.said + other.said - said)
    yield replace(one, rule=Rule("conjunction", conjunction.Options(pair)), hits=hits, said=said)
    for first, second in (pair, pair[::-1]):
        alone = one if first == one.rule else other
        rule = Rule("near_miss", near_miss.Options(first, second))
        yield replace(alone, rule=rule, hits=alone.hits - hits, said=alone.said - said)


def _common(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """What two sorted arrays share."""
    small, large = sorted((one, other), key=len)
    at = np.minimum(np.searchsorted(large, small), max(len(large) - 1, 0))
    return small[large[at] == small] if len(large) else small[:0]


def greedy(
    hits: Float[np.ndarray, " names"] | Int[np.ndarray, " names"],
    total: Int[np.ndarray, " names"],
    fired: int,
    most: int,
) -> list[int]:
    """At most `most` disjoint events whose union has a high F1, in the order in which they raise it most."""
    pool = np.flatnonzero(hits >= LEAST)
    chosen: list[int] = []
    f1, right, said = 0.0, 0.0, 0.0
    while len(chosen) < most and len(pool):
        raised = 2 * (right + hits[pool]) / (fired + said + total[pool])
        at = int(np.argmax(raised))
        if raised[at] < f1 + GAIN:
            break
        f1, right, said = float(raised[at]), right + hits[pool[at]], said + total[pool[at]]
        chosen.append(int(pool[at]))
        pool = np.delete(pool, at)
    return chosen


def largest(values: Float[np.ndarray, " values"], most: int) -> list[int]:
    """Where the `most` largest values are, the largest first."""
    some = np.argpartition(-values, min(most, len(values)) - 1)[:most] if len(values) else np.zeros(0, dtype=int)
    return some[np.lexsort((some, -values[some]))].tolist()


def _affixes(vocabulary: list[str]) -> Affixes:
    number: dict[tuple[str, str], int] = {}
    pairs = [
        (at, number.setdefault(name, len(number)))
        for at, text in enumerate(vocabulary)
        if text.isalpha()
        for size in range(1, min(AFFIX, len(text) - 1) + 1)
        for name in (("prefix", text[:size]), ("suffix", text[-size:]))
    ]
    unit, affix = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    return Affixes(list(number), unit, affix)
