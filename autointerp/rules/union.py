"""Fires where any of several rules does: a feature with several meanings (polysemantic)."""

from __future__ import annotations

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
    """One of them must fire at a token."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each token at which some rule fires."""
    return join([rule.fires(tokens) for rule in inner(options)])


def inner(options: Options) -> tuple[Rule, ...]:
    """The rules that it is made of."""
    return options.rules


def join(fired: Sequence[Bool[np.ndarray, " tokens"]]) -> Bool[np.ndarray, " tokens"]:
    """Where it fires, when its rules fire so."""
    return np.logical_or.reduce(fired)


def text(options: Options) -> str:
    """The rules as one phrase."""
    return "; or ".join(rule.text for rule in options.rules)


def places(options: Options, index: Index) -> Int[np.ndarray, " places"]:
    """Where it fires in a harvest."""
    return np.unique(np.concatenate([places_of(rule, index) for rule in options.rules]))
