"""Fires at one token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from autointerp.rule import plain


@dataclass(frozen=True)
class Options:
    """Which token."""

    token: str
    """The token as it is spelled."""
    fold: bool = True
    """Whether surrounding space and case are ignored."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each occurrence of the token."""
    wanted = plain(options.token, options.fold)
    return np.array([plain(token, options.fold) == wanted for token in tokens], dtype=bool)


def text(options: Options) -> str:
    """The rule as a phrase."""
    return f'the token "{plain(options.token, options.fold)}"'
