"""Fires at the first tokens of a document, or of a line.

A line begins after a token that has a newline in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from autointerp.index import Index
from autointerp.learning import Seen

TRIED = (1, 2, 3, 5, 10)

FIXED = True
"""What is proposed does not depend on the feature."""


@dataclass(frozen=True)
class Options:
    """How near to the beginning of what."""

    first: int = 1
    """How many tokens."""
    of: str = "document"
    """document, or line: after a newline (the first line of a document is not counted)."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At the first tokens of the document, or of its lines."""
    at = np.arange(len(tokens))
    if options.of == "document":
        return at < options.first
    breaks = np.array([token_breaks(token) for token in tokens], dtype=bool)
    return _since(breaks) <= options.first


def text(options: Options) -> str:
    """The rule as a phrase."""
    count = "the first token" if options.first == 1 else f"the first {options.first} tokens"
    return f"{count} of a passage" if options.of == "document" else f"{count} after a line break"


def places(options: Options, index: Index) -> Int[np.ndarray, " places"]:
    """Where it fires in a harvest."""
    if options.of == "document":
        return np.flatnonzero(index.offset < options.first)
    found = index.units("token", False)
    lines = [number for number, name in enumerate(found.vocabulary) if token_breaks(name)]
    after = found.any_of(np.array(lines, dtype=np.int64)).astype(np.int64)[:, None] + np.arange(1, options.first + 1)
    origin = np.repeat(index.document[after[:, 0] - 1], options.first)
    after = after.ravel()
    inside = after < len(index)
    after, origin = after[inside], origin[inside]
    return np.unique(after[index.document[after] == origin])


def learn(_: Seen) -> Iterator[Options]:
    """A few lengths of both."""
    yield from (Options(first, of) for of in ("document", "line") for first in TRIED)


def token_breaks(token: str) -> bool:
    """Whether a line ends in this token."""
    return "\n" in token


def _since(breaks: np.ndarray) -> np.ndarray:
    """How many tokens ago the last break was (at least 1); no end of them where there was none."""
    at = np.arange(len(breaks))
    last = np.maximum.accumulate(np.where(breaks, at, -1)) if len(at) else at
    before = np.concatenate([[-1], last[:-1]])[: len(at)]
    return np.where(before >= 0, at - before, np.iinfo(np.int64).max)
