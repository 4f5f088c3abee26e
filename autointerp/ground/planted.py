"""Planted features: rules that fire often enough in a corpus, each with the labels that are nearly right.

1. Each kind of rule (`kinds/`) gives its rules; those that fire in at least `LEAST` windows of both halves are planted, at
   most so many a kind. What is left out is named.
2. `narrow` has about half the extent, counted in windows: some of the words of a set, one of two meanings, or the rule only
   at, or only after, a few words; whichever comes nearest.
3. `broad` has about twice the extent: the rule or another one, of its kind where that comes near.
4. `sibling` is the next of its kind, `shuffled` a feature of another kind, drawn by the seed among those that hardly ever
   fire with it.

Doubling and halving the extent is what a score must notice (NeuronEval's tests of a metric; see `ladder.py`). The extent is
that of windows and not of tokens, since most scorers judge windows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autointerp.ground.corpus import Corpus
from autointerp.ground.making import all_of, any_of, make, words
from autointerp.rule import Rule
from data import parts
from data.errors import Mistake, unknown
from data.words import digest

KINDS = "autointerp.ground.kinds"
LEAST = 10
"""Windows of each half that a feature must fire in: a scorer's five strata of strength need two each."""
MOST = 0.3
"""Share of tokens at which a feature may fire: a denser one leaves no silent windows."""
FOREIGN = 0.05
"""Share of its firings that a feature may have in common with its shuffled label."""
NEAR = 0.15
"""How far from a half the share of windows may be that a narrow label keeps, when it is one that can be said simply."""
CHOSEN = (1, 2, 4, 8, 16)
"""Words that a narrow label may pick out."""


@dataclass(frozen=True)
class Planted:
    """A planted feature, and the rules of labels that are nearly right, or quite wrong."""

    latent: int
    kind: str
    rule: Rule
    narrow: Rule
    broad: Rule
    other: Rule
    """What `broad` takes in besides the rule."""
    sibling: Rule
    shuffled: Rule


@dataclass(frozen=True)
class Planting:
    """What is planted, and what was left out because it fires too seldom in this text."""

    features: tuple[Planted, ...]
    left_out: tuple[str, ...]


def planted(corpus: Corpus, kinds: str, each: int, seed: int) -> Planting:
    """At most `each` features of each of `kinds` (by commas; empty: all). Raises `Mistake` when nothing can be planted."""
    found: list[tuple[str, Rule]] = []
    left_out: list[str] = []
    for kind in kinds_of(kinds):
        rules = parts.load(KINDS, kind).rules()
        often = [rule for rule in rules if _often(corpus, rule)]
        left_out += [f"{kind}: {rule.text}" for rule in rules if rule not in often]
        found += [(kind, rule) for rule in often[:each]]
    if len({kind for kind, _ in found}) < 2 or len(found) < 4:
        raise Mistake(
            f"Only {len(found)} features can be planted in this text, and four of two kinds are needed: the others fire in "
            f"fewer than {LEAST} windows of a half. Give more --tokens, a longer --text, or more --kinds."
        )
    return Planting(tuple(_planted(corpus, found, at, seed) for at in range(len(found))), tuple(left_out))


def kinds_of(text: str) -> list[str]:
    """The kinds named in `text` by commas, all for none; raises `Mistake` for an unknown one."""
    known = parts.names(KINDS)
    named = [name.strip() for name in text.split(",") if name.strip()] or known
    for name in named:
        if name not in known:
            raise unknown("kind of planted feature", name, known)
    return list(dict.fromkeys(named))


def _often(corpus: Corpus, rule: Rule) -> bool:
    fired = corpus.fires(rule)
    enough = all(corpus.windows(fired & half) >= LEAST for half in (corpus.scored, ~corpus.scored))
    return enough and bool(fired.mean() <= MOST)


def _planted(corpus: Corpus, found: Sequence[tuple[str, Rule]], at: int, seed: int) -> Planted:
    kind, rule = found[at]
    mates = [mate for mate_kind, mate in [*found[at + 1 :], *found[:at]] if mate_kind == kind]
    others = [other for other_kind, other in found if other_kind != kind]
    drawn = sorted(others, key=lambda other: digest("shuffled", seed, rule.record(), other.record()))
    sibling = mates[0] if mates else drawn[-1]
    other = _other(corpus, rule, [m for m in mates if m != sibling], drawn)
    shuffled = min(drawn, key=lambda other: max(_share(corpus, other, rule), FOREIGN))
    return Planted(at, kind, rule, narrow(corpus, kind, rule), any_of(rule, other), other, sibling, shuffled)


def _other(corpus: Corpus, rule: Rule, mates: Sequence[Rule], others: Sequence[Rule]) -> Rule:
    """The rule that brings `rule` nearest to twice its windows; of its own kind where that comes near."""
    whole = corpus.windows(corpus.fires(rule))

    def off(more: Rule) -> float:
        return abs(float(np.log2(corpus.windows(corpus.fires(rule) | corpus.fires(more)) / whole)) - 1)

    best = min(mates, key=off, default=None)
    if best is None or off(best) > 0.5:
        best = min([*mates, *others], key=off)
    return best


def _share(corpus: Corpus, other: Rule, rule: Rule) -> float:
    """The share of the firings of `rule` at which `other` fires too."""
    return float(corpus.fires(other)[corpus.fires(rule)].mean())


def narrow(corpus: Corpus, kind: str, rule: Rule) -> Rule:
    """The rule within `rule` that fires most nearly in half as many windows; one that its kind offers if it is near."""
    offered = getattr(parts.load(KINDS, kind), "halves", _own)(rule)
    fired = corpus.fires(rule)
    best = min(offered, key=lambda half: _off(corpus, fired, corpus.fires(half)), default=None)
    if best and _off(corpus, fired, corpus.fires(best)) <= NEAR:
        return best
    choices = [choice for back in (0, 1, 2) for choice in _choices(corpus, fired, back)]
    chosen = min(choices, key=lambda choice: _off(corpus, fired, choice.near))
    return chosen.of(rule)


def _off(corpus: Corpus, fired: np.ndarray, half: np.ndarray) -> float:
    """How far from a half is the share of the windows in which a rule fires that `half` keeps."""
    return abs(corpus.windows(fired & half) / corpus.windows(fired) - 0.5)


def _own(rule: Rule) -> list[Rule]:
    """Halves that can be read off a rule: every other word of a set, one of two meanings."""
    if rule.kind == "set":
        return [words(" ".join(rule.options.tokens[start::2])) for start in (0, 1)]
    return list(rule.options.rules) if rule.kind == "union" else []


@dataclass(frozen=True)
class Choice:
    """Some tokens, how far `back` from a firing they may stand (0: at it), and the places that are so near to one."""

    tokens: tuple[str, ...]
    back: int
    near: np.ndarray

    def of(self, rule: Rule) -> Rule:
        """`rule` at these places only."""
        if self.back:
            return all_of(rule, make("previous", items=self.tokens, unit="token", within=self.back))
        return all_of(rule, make("set", tokens=self.tokens))


def _choices(corpus: Corpus, fired: np.ndarray, back: int) -> Iterator[Choice]:
    """The tokens that stand most often `back` places before where a rule fires: more and more of them."""
    there = np.flatnonzero(fired) - back
    frequent = Counter(corpus.spelled[at] for at in there[there >= 0]).most_common(max(CHOSEN))
    tokens = [token for token, _ in frequent if token.strip()]
    for count in CHOSEN:
        among = corpus.among(tokens[:count])
        near = [np.roll(among, shift) for shift in range(min(back, 1), back + 1)]
        yield Choice(tuple(tokens[:count]), back, np.logical_or.reduce(near))
