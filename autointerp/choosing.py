"""Which held-out documents a harvest reads, and in what pieces.

1. `choose` goes through the text once and keeps of each document its number, its size and a digest, never its words.
   Of files all held-out documents are looked at, and those whose places in an order drawn by the seed come first are
   taken until there are enough tokens. A dataset of the hub may have no end: its documents are taken as they come.
2. `Chosen.chunks` goes through it again and hands out the documents in order of number, in chunks of about `CHUNK`
   tokens: the unit of a harvest's work.

What is kept is some 200 bytes for a document while choosing, and 12 afterwards.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from data.errors import Mistake
from data.models import Subject
from data.sources import Hub, find
from data.texts import Document, documents
from data.words import digest

CHUNK = 16_384
"""Tokens in a chunk: half a million activations of a dictionary with 32 active latents, about 10 MB."""


@dataclass(frozen=True)
class Chunk:
    """Documents that are harvested together; `number` counts chunks from 0."""

    number: int
    documents: tuple[Document, ...]


@dataclass(frozen=True)
class Chosen:
    """The documents that a harvest reads, in order of number."""

    text: str | None
    number: Int[np.ndarray, " documents"]
    tokens: Int[np.ndarray, " documents"]
    """How many each has."""
    content: str
    """A digest of their numbers and texts."""

    def __len__(self) -> int:
        return len(self.number)

    @functools.cached_property
    def chunk(self) -> Int[np.ndarray, " documents"]:
        """Which chunk each document is in: a new one begins once `CHUNK` tokens are in the last."""
        found = np.zeros(len(self), dtype=np.int64)
        number = held = 0
        for place, tokens in enumerate(self.tokens.tolist()):
            if held >= CHUNK:
                number, held = number + 1, 0
            found[place] = number
            held += tokens
        return found

    @property
    def chunk_count(self) -> int:
        return int(self.chunk.max(initial=-1)) + 1

    def documents_in(self, chunks: Sequence[int]) -> int:
        """How many documents these chunks have."""
        return int(np.isin(self.chunk, chunks).sum())

    def chunks(self, missing: Iterable[int]) -> Iterator[Chunk]:
        """The chunks with the numbers `missing`, ascending. Raises `Mistake` when the text is not what it was."""
        chunk, wanted = self.chunk, sorted(missing)
        found = self._documents(np.isin(chunk, wanted))
        for number in wanted:
            size = int((chunk == number).sum())
            yield Chunk(number, tuple(next(found) for _ in range(size)))

    def _documents(self, wanted: np.ndarray) -> Iterator[Document]:
        numbers = self.number[wanted].tolist()
        if not numbers:
            return
        source = documents(self.text, "heldout", numbers[0])
        for number in numbers:
            document = next((d for d in source if d.number >= number), None)
            if document is None or document.number > number:
                raise Mistake(
                    f"Document {number} of the text {self.text or 'sample'!r} was there a moment ago and is not any "
                    f"more. Do not change the text while it is harvested; run `lacewing harvest` again."
                )
            yield document


def choose(text: str | None, tokens: int, seed: int, subject: Subject) -> Chosen:
    """Held-out documents until they have `tokens` tokens, or all. Raises `Mistake` when there is none."""
    kept = list(_first(text, tokens, subject) if isinstance(find(text), Hub) else _drawn(text, tokens, seed, subject))
    if not kept:
        raise Mistake(f"The text {text or 'sample'!r} has no held-out document; give a text of more documents.")
    kept.sort(key=lambda d: d.number)
    number = np.array([d.number for d in kept], dtype=np.int64)
    sizes = np.array([d.tokens for d in kept], dtype=np.int32)
    return Chosen(text, number, sizes, digest([(d.number, d.content) for d in kept]))


@dataclass(frozen=True, order=True)
class _Candidate:
    """A document that may be read: its place in the order drawn, the last the least; its size in tokens; a digest."""

    place: int
    number: int
    tokens: int
    content: str


def _first(text: str | None, tokens: int, subject: Subject) -> Iterator[_Candidate]:
    """The first held-out documents."""
    made = 0
    for document in _heldout(text):
        yield (found := _candidate(0, document, subject))
        made += found.tokens
        if made >= tokens:
            return


def _drawn(text: str | None, tokens: int, seed: int, subject: Subject) -> list[_Candidate]:
    """Those that stand first in an order drawn at random: a heap, from which the last is dropped when it is not needed.

    Only documents that may be among them are tokenised.
    """
    heap: list[_Candidate] = []
    made = 0
    for document in _heldout(text):
        place = _place(seed, document.number)
        if made >= tokens and place < heap[0].place:
            continue
        heapq.heappush(heap, found := _candidate(place, document, subject))
        made += found.tokens
        while made - heap[0].tokens >= tokens:
            made -= heapq.heappop(heap).tokens
    return heap


def _place(seed: int, number: int) -> int:
    """Where a document stands in the order drawn by `seed`; the greatest is first."""
    return -int(digest("harvest", seed, number), 16)


def _heldout(text: str | None) -> Iterator[Document]:
    return (document for document in documents(text, "heldout") if document.text.strip())


def _candidate(place: int, document: Document, subject: Subject) -> _Candidate:
    return _Candidate(place, document.number, len(subject.tokenize(document.text)), digest(document.text))


__all__ = ["Chosen", "Chunk", "choose"]
