"""Fires where any of several rules does: a feature with several meanings (polysemantic)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from autointerp.rule import Rule


@dataclass(frozen=True)
class Options:
    """Which rules."""

    rules: tuple[Rule, ...]
    """One of them must fire at a token."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each token at which some rule fires."""
    return np.logical_or.reduce([rule.fires(tokens) for rule in options.rules])


def text(options: Options) -> str:
    """The rules as one phrase."""
    return "; or ".join(rule.text for rule in options.rules)
