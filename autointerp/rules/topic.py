"""Fires wherever a topic's words are frequent: at each token with enough of them among the last few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from autointerp.candidates import listing
from autointerp.rule import plain

NAMED = 6
"""Words that the phrase gives as examples."""


@dataclass(frozen=True)
class Options:
    """What the topic is, and how it is told."""

    name: str
    """The topic as a phrase: `war and battle`."""
    words: tuple[str, ...]
    """Its words; case and surrounding space are ignored."""
    reach: int = 20
    """How many tokens are looked at: this one and those before it. A causal model cannot know those after it."""
    least: int = 2
    """How many of them must be words of the topic."""


def fires(options: Options, tokens: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
    """At each token with at least `least` of the words among the last `reach`."""
    wanted = {plain(word) for word in options.words}
    met = np.cumsum([0, *(plain(token) in wanted for token in tokens)])
    before = np.maximum(np.arange(1, len(tokens) + 1) - options.reach, 0)
    return met[1:] - met[before] >= options.least


def text(options: Options) -> str:
    """The topic, with some of its words."""
    return f"the topic of {options.name} (words such as {listing(options.words[:NAMED])})"
