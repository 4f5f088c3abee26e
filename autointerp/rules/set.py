"""Fires at each of a set of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from autointerp.candidates import listing
from autointerp.rule import plain


@dataclass(frozen=True)
class Options:
    """Which tokens."""

    tokens: tuple[str, ...]
    """The tokens as they are spelled."""
    fold: bool = True
    """Whether surrounding space and case are ignored."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each occurrence of one of the tokens."""
    wanted = {plain(token, options.fold) for token in options.tokens}
    return np.array([plain(token, options.fold) in wanted for token in tokens], dtype=bool)


def text(options: Options) -> str:
    """The rule as a phrase."""
    return f"the tokens {listing([plain(token, options.fold) for token in options.tokens])}"
