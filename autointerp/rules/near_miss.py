"""Fires where one rule does, except where another does: nearly the first, and easily taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from autointerp.index import Index, places_of
from autointerp.rule import Rule


@dataclass(frozen=True)
class Options:
    """The rule that this one is nearly, and its exception."""

    rule: Rule
    """Where it fires."""
    but: Rule
    """Where it does not fire all the same."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each token at which `rule` fires and `but` does not."""
    return join([rule.fires(tokens) for rule in inner(options)])


def inner(options: Options) -> tuple[Rule, ...]:
    """The rules that it is made of."""
    return options.rule, options.but


def join(fired: Sequence[Bool[np.ndarray, " tokens"]]) -> Bool[np.ndarray, " tokens"]:
    """Where it fires, when its rules fire so."""
    rule, but = fired
    return rule & ~but


def text(options: Options) -> str:
    """The rule and its exception as one phrase."""
    return f"{options.rule.text}, but not {options.but.text}"


def places(options: Options, index: Index) -> Int[np.ndarray, " places"]:
    """Where it fires in a harvest."""
    return np.setdiff1d(places_of(options.rule, index), places_of(options.but, index))
