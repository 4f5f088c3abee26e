"""Explanations that can be run: a rule says at which tokens of a document a feature fires.

1. A kind of rule is a file of `autointerp/rules`: a frozen dataclass `Options` (its words, its affix, its numbers), and

       def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]
       def text(options: Options) -> str

   over the tokens of one document as they are spelled, and as the phrase that a person or a judge reads. A kind that can be
   found in the index of a harvest (`index.py`) also has `places(options, index)`, the same much faster; one that can be
   learnt from a feature's firings (`learning.py`) has `learn(seen)`, which yields options worth a try.
2. `Rule` is a kind with its options. A rule may hold rules (a negation, a conjunction).
3. `record` is a rule as JSON, `Rule.of` reads it back.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from autointerp.candidates import join
from data import parts
from data.errors import Mistake

RULES = "autointerp.rules"


@dataclass(frozen=True)
class Rule:
    """A rule: its kind, and that kind's `Options`."""

    kind: str
    options: Any

    @property
    def part(self) -> ModuleType:
        """The module of its kind; raises `Mistake` when there is no such kind."""
        return _part(self.kind)

    def fires(self, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
        """At which of a document's `tokens` the rule fires."""
        return self.part.fires(self.options, tokens)

    @property
    def text(self) -> str:
        """The rule as a phrase."""
        return self.part.text(self.options)

    def record(self) -> dict[str, Any]:
        """The rule as JSON: `{"kind": ..., "options": {...}}`."""
        return {
            "kind": self.kind,
            "options": {f.name: _plain(getattr(self.options, f.name)) for f in fields(self.options)},
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Rule:
        """The rule that `record` was made from. Raises `Mistake` for what is no record of a rule."""
        kind, values = record.get("kind"), record.get("options")
        if not isinstance(kind, str) or not isinstance(values, Mapping):
            raise Mistake(f"{dict(record)!r} is no rule; a rule has a kind and its options.")
        options = parts.load(RULES, kind).Options
        known = [f.name for f in fields(options)]
        try:
            return cls(kind, options(**{name: _read(value) for name, value in values.items()}))
        except TypeError as error:
            raise Mistake(f"The rule {dict(record)!r} has not the options of {kind!r}: {', '.join(known)}.") from error


@functools.cache
def _part(kind: str) -> ModuleType:
    return parts.load(RULES, kind)


def _plain(value: Any) -> Any:
    if isinstance(value, Rule):
        return value.record()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _read(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Rule.of(value)
    return tuple(_read(item) for item in value) if isinstance(value, list | tuple) else value


def plain(text: str, fold: bool = True) -> str:
    """A token or word as rules compare it: without surrounding space and in lower case when `fold`."""
    return (text.strip().lower() or text) if fold else text


def units(tokens: Sequence[str], unit: str, fold: bool) -> tuple[list[str], Int[np.ndarray, " units"]]:
    """A document's tokens or words as rules compare them, and the position of each one's last token."""
    if unit == "token":
        return [plain(token, fold) for token in tokens], np.arange(len(tokens))
    words, index = join(tokens)
    return [plain(word, fold) for word in words], np.flatnonzero(np.append(np.diff(index), 1)[: len(index)])


def at_last(length: int, last: Int[np.ndarray, " units"], found: Sequence[bool]) -> Bool[np.ndarray, " tokens"]:
    """Which of `length` tokens are the last of a unit that was `found`."""
    fired = np.zeros(length, dtype=bool)
    fired[last[np.array(found, dtype=bool)]] = True
    return fired
