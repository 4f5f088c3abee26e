"""A text that a person typed, as the model reads it: tokenised as a harvest does, one block, the prefix in front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dashboard.engine.room import Room
from data.errors import Mistake
from data.models import Subject
from data.texts import Document, blocks
from data.words import Site

LONGEST = 512
"""Tokens of a text that are read."""


@dataclass(frozen=True, eq=False)
class Text:
    """Token ids with the prefix in front; the rest is without it."""

    ids: Int[Tensor, "one pos"]
    prefix: int
    spelled: list[str]
    real: Bool[np.ndarray, " tokens"]
    """Which tokens are text: special ones that it spells out are not, and no feature is harvested there."""
    cut: int
    """Tokens at the end that were not read."""

    @property
    def tokens(self) -> list[int]:
        return self.ids[0, self.prefix :].tolist()


def read(room: Room, text: str, longest: int = LONGEST) -> Text:
    """`text` as the subject reads it, its first `longest` tokens. Raises `Mistake` when it is empty."""
    if not isinstance(text, str) or not text:
        raise Mistake("There is no text; type some.")
    subject = room.subject
    context = min(longest, _positions(subject)) + len(subject.prefix)
    whole = blocks([Document(0, text, "")], subject.tokenizer, context=context, prefix=subject.prefix)
    if not len(whole):
        raise Mistake("The text has no token for this model; type some more.")
    first = whole[slice(0, 1)].trimmed()
    real = first.real[0, len(subject.prefix) :]
    ids = torch.from_numpy(first.tokens).long()
    spelled = subject.spell(ids[0, len(subject.prefix) :].tolist())
    return Text(ids, len(subject.prefix), spelled, real, whole.tokens_without_prefix - len(spelled))


def _positions(subject: Subject) -> int:
    """How many tokens the model was made for."""
    known = getattr(subject.model.config.get_text_config(), "max_position_embeddings", None) or LONGEST
    return known - len(subject.prefix)


def values(room: Room, text: Text, sites: list[Site]) -> dict[Site, Float[Tensor, "tokens d_model"]]:
    """The value at each site, at all tokens but the prefix, in fp32."""
    found = room.subject.read(text.ids, sites)
    return {site: value[0, text.prefix :].float().cpu() for site, value in found.items()}
