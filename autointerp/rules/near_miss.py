"""Fires where one rule does, except where another does: nearly the first, and easily taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

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
    return options.rule.fires(tokens) & ~options.but.fires(tokens)


def text(options: Options) -> str:
    """The rule and its exception as one phrase."""
    return f"{options.rule.text}, but not {options.but.text}"
