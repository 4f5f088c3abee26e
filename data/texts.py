"""Texts: documents, their split, and blocks of tokens.

1. `documents` reads a text lazily, from wherever it is kept (`data.sources`).
2. Each document is `train`, `calibration` or `heldout`, by the digest of its neighbourhood: passages that stand side by
   side in a book share their fate, so that no sentence of a held-out passage was seen in training next door.
3. `blocks` tokenises them: each block begins with the model's prefix and never crosses a document's border.
4. A `Text` longer than memory is tokenised a shelf at a time; a shelf is found again by its first document's number.

Prefix, padding and special tokens that a text happens to spell out carry no content: `Blocks.real` leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from data.errors import Mistake
from data.sources import Passage, find
from data.words import digest

NEIGHBOURS = 8
HELDOUT = 0.3
"""Share of documents held out: dictionaries are evaluated, and features harvested, on these alone."""
CALIBRATION = 0.04
"""Share of documents that thresholds are calibrated on, neither trained on nor evaluated on: as few as give a short
text more than one or two neighbourhoods (the bundled sample five)."""
SHELF = 8192
"""Blocks in a shelf: at 128 tokens 8 MB, and many times what a shuffle of the default size holds."""


@dataclass(frozen=True)
class Document:
    """One text; `number` is its place in its source, `split` is `train`, `calibration` or `heldout`."""

    number: int
    text: str
    split: str


@dataclass(frozen=True)
class Blocks:
    """Token blocks, right-padded with 0: `tokens` [blocks, context]; the next three [blocks].

    `length` counts tokens (prefix included), `document` is the document's number, `start` the offset of the
    block's first token after the prefix, within the document. `special` are the ids that are no text.
    """

    tokens: np.ndarray
    length: np.ndarray
    document: np.ndarray
    start: np.ndarray
    prefix: int
    special: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: slice | np.ndarray) -> Blocks:
        return self._each(lambda own: own[rows])

    def __add__(self, others: Blocks) -> Blocks:
        """These blocks, then `others`, which must be cut alike."""
        theirs = iter((others.tokens, others.length, others.document, others.start))
        return self._each(lambda own: np.concatenate([own, next(theirs)]))

    def _each(self, change: Callable[[np.ndarray], np.ndarray]) -> Blocks:
        arrays = (change(own) for own in (self.tokens, self.length, self.document, self.start))
        tokens, length, document, start = arrays
        return replace(self, tokens=tokens, length=length, document=document, start=start)

    def trimmed(self) -> Blocks:
        """The same blocks without the columns that are padding in all of them."""
        return replace(self, tokens=self.tokens[:, : self.length.max(initial=0)])

    def first(self, tokens: int) -> Blocks:
        """As many of the first blocks as have about `tokens` tokens, prefix not counted."""
        total = np.cumsum(self.length - self.prefix)
        return self[slice(0, int(np.searchsorted(total, tokens)) + 1)]

    @property
    def tokens_without_prefix(self) -> int:
        return int((self.length - self.prefix).sum())

    @property
    def real(self) -> np.ndarray:
        """Where [blocks, context] there are tokens of the text: neither prefix nor padding nor special tokens."""
        place = np.arange(self.tokens.shape[1])
        inside = (place >= self.prefix) & (place < self.length[:, None])
        return inside & ~np.isin(self.tokens, self.special)


@runtime_checkable
class Tokenizer(Protocol):
    """What is needed of a tokenizer: ids of a text without any special token."""

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> dict[str, list[list[int]]]: ...


def documents(path: str | None = None, split: str | None = None, start: int = 0) -> Iterator[Document]:
    """The documents of `path` (None: the bundled sample) from number `start` on, all or those of one split.

    `path` is read as `data.sources.find` says. Raises `Mistake` when it cannot be, or holds no text at all.
    """
    found = start > 0
    for number, passage in enumerate(find(path).passages(start)):
        if passage is None:
            continue
        found = found or bool(passage.text.strip())
        own = split_of(passage, number)
        if split in (None, own):
            yield Document(number, passage.text, own)
    if not found:
        raise Mistake(f"The text {path!r} holds no text.")


def split_of(passage: Passage, number: int) -> str:
    """The split of a document: by neighbourhood for passages of a running text, by content otherwise."""
    key = number // NEIGHBOURS if passage.running else passage.text
    place = int(digest("split", key, length=8), 16) / 16**8
    if place < HELDOUT:
        return "heldout"
    return "calibration" if place < HELDOUT + CALIBRATION else "train"


def text_digest(path: str | None = None) -> str:
    """What a run's recipe knows its text by, made without reading its documents.

    Of files, the digest of their bytes, read in pieces; of a hub dataset, that of name, config, split, column and
    commit. Raises `Mistake` when there is no such text.
    """
    return find(path).digest()


def special_ids(tokenizer: object) -> tuple[int, ...]:
    """The ids that `tokenizer` keeps for other ends than text: end of text, turns of a chat, padding."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return tuple(
        sorted({*getattr(tokenizer, "all_special_ids", ()), *(i for i, token in added.items() if token.special)})
    )


def blocks(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    *,
    context: int,
    prefix: Sequence[int],
    limit: int | None = None,
) -> Blocks:
    """Documents as blocks of `context` tokens, in order, until about `limit` tokens (prefix not counted) are made."""
    cut = _Cut(context, prefix, special_ids(tokenizer))
    for number, ids in _encoded(documents, tokenizer):
        cut.add(number, ids)
        if limit is not None and cut.made >= limit:
            break
    return cut.blocks()


@dataclass(frozen=True)
class Shelf:
    """Blocks of the documents from number `start` on; `following` is the next shelf's first document, if any."""

    blocks: Blocks
    start: int
    following: int | None


@dataclass(frozen=True)
class Text:
    """A text (`path` as in `documents`) as a model reads it: in blocks of `context` tokens that begin with `prefix`."""

    path: str | None
    tokenizer: Tokenizer
    context: int
    prefix: tuple[int, ...]

    def blocks(self, split: str, limit: int | None = None) -> Blocks:
        """The blocks of one split, or of its first documents that make `limit` tokens."""
        chosen = documents(self.path, split)
        return blocks(chosen, self.tokenizer, context=self.context, prefix=self.prefix, limit=limit)

    def shelf(self, start: int = 0, split: str = "train") -> Shelf:
        """About `SHELF` blocks of a split's documents from number `start` on; nothing before them is tokenised."""
        cut = _Cut(self.context, self.prefix, special_ids(self.tokenizer))
        for number, ids in _encoded(documents(self.path, split, start), self.tokenizer):
            if len(cut.rows) >= SHELF:
                return Shelf(cut.blocks(), start, number)
            cut.add(number, ids)
        return Shelf(cut.blocks(), start, None)


class _Cut:
    """Blocks in the making; `made` counts their tokens without prefix."""

    def __init__(self, context: int, prefix: Sequence[int], special: tuple[int, ...]) -> None:
        self.context, self.prefix, self.special = context, prefix, special
        self.rows: list[np.ndarray] = []
        self.origin: list[tuple[int, int]] = []
        self.made = 0

    def add(self, number: int, ids: Sequence[int]) -> None:
        room = self.context - len(self.prefix)
        whole = np.array(ids, dtype=np.int64)
        for start in range(0, len(ids), room):
            self.rows.append(whole[start : start + room])
            self.origin.append((number, start))
        self.made += len(ids)

    def blocks(self) -> Blocks:
        before = len(self.prefix)
        length = np.array([before + len(row) for row in self.rows], dtype=np.int32)
        tokens = np.zeros((len(self.rows), self.context), dtype=np.int64)
        tokens[:, :before] = self.prefix
        for place, row in zip(tokens, self.rows, strict=True):
            place[before : before + len(row)] = row
        where = np.array(self.origin, dtype=np.int32).reshape(-1, 2)
        return Blocks(tokens, length, where[:, 0], where[:, 1], before, self.special)


def _encoded(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[tuple[int, list[int]]]:
    """Each document's number and ids; a few documents are tokenised together, which is quicker."""
    for batch in _batches(documents, 64):
        encoded = tokenizer([d.text for d in batch], add_special_tokens=False)["input_ids"]
        yield from zip((d.number for d in batch), encoded, strict=True)


def _batches(items: Iterable[Document], size: int) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
