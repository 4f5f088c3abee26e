"""Fires where all of several rules do."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from autointerp.index import Index, places_of
from autointerp.rule import Rule


@dataclass(frozen=True)
class Options:
    """Which rules."""

    rules: tuple[Rule, ...]
    """All of them must fire at a token."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each token at which every rule fires."""
    return join([rule.fires(tokens) for rule in inner(options)])


def inner(options: Options) -> tuple[Rule, ...]:
    """The rules that it is made of."""
    return options.rules


def join(fired: Sequence[Bool[np.ndarray, " tokens"]]) -> Bool[np.ndarray, " tokens"]:
    """Where it fires, when its rules fire so."""
    return np.logical_and.reduce(fired)


def text(options: Options) -> str:
    """The rules as one phrase."""
    return ", and at the same time ".join(rule.text for rule in options.rules)


def places(options: Options, index: Index) -> Int[np.ndarray, " places"]:
    """Where it fires in a harvest."""
    return functools.reduce(np.intersect1d, (places_of(rule, index) for rule in options.rules))
