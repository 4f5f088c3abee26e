"""Texts: documents, their split, and blocks of tokens.

1. `documents` reads the bundled public-domain sample, or a `.txt`, `.jsonl` or `.parquet` file. A text file is cut at
   line ends into passages of about `PASSAGE` characters; in the others a row is a document (`text` column).
2. Each document is `train` or `heldout`, by the digest of its neighbourhood: passages that stand side by side in a
   book share their fate, so that no sentence of a held-out passage was seen in training next door.
3. `blocks` tokenises them: each block begins with the model's prefix and never crosses a document's border.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow.parquet as pq

from data.errors import Mistake
from data.words import digest

PASSAGE = 2000
NEIGHBOURS = 8
HELDOUT = 0.3
"""Share of documents held out: dictionaries are evaluated, and features harvested, on these alone."""


@dataclass(frozen=True)
class Document:
    """One text; `number` is its place in its file, `split` is `train` or `heldout`."""

    number: int
    text: str
    split: str


@dataclass(frozen=True)
class Blocks:
    """Token blocks, right-padded with 0: `tokens` [blocks, context]; the rest [blocks].

    `length` counts real tokens (prefix included), `document` is the document's number, `start` the offset of the
    block's first token after the prefix, within the document.
    """

    tokens: np.ndarray
    length: np.ndarray
    document: np.ndarray
    start: np.ndarray
    prefix: int

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: slice | np.ndarray) -> Blocks:
        return Blocks(self.tokens[rows], self.length[rows], self.document[rows], self.start[rows], self.prefix)

    @property
    def tokens_without_prefix(self) -> int:
        return int((self.length - self.prefix).sum())


@runtime_checkable
class Tokenizer(Protocol):
    """What is needed of a tokenizer: ids of a text without any special token."""

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> dict[str, list[list[int]]]: ...


def documents(path: str | None = None, split: str | None = None) -> Iterator[Document]:
    """The documents of `path` (None: the bundled sample), all or those of one split. Raises `Mistake`."""
    for number, text in enumerate(_texts(path)):
        if split is None or split_of(text, number, path) == split:
            yield Document(number, text, split_of(text, number, path))


def text_digest(path: str | None = None) -> str:
    """The digest by which a run's recipe knows its text, made without reading its documents. Raises `Mistake`."""
    return digest([d.text for d in documents(path)])


def split_of(text: str, number: int, path: str | None) -> str:
    """The split of a document: by neighbourhood for passages of a running text, by content otherwise."""
    running = path is None or Path(path).suffix not in (".jsonl", ".parquet")
    key = number // NEIGHBOURS if running else text
    return "heldout" if int(digest("split", key, length=8), 16) / 16**8 < HELDOUT else "train"


def _texts(path: str | None) -> Iterator[str]:
    if path is None:
        sample = resources.files("data") / "sample" / "public_domain.txt.gz"
        yield from passages(gzip.decompress(sample.read_bytes()).decode())
        return
    file = Path(path).expanduser()
    if not file.is_file():
        raise Mistake(f"The text {path!r} is not a file. Give a .txt, .jsonl or .parquet file with --text.")
    found = False
    for text in _rows(file):
        found = found or bool(text.strip())
        yield text
    if not found:
        raise Mistake(f"The text {path!r} holds no text.")


def _rows(file: Path) -> Iterator[str]:
    if file.suffix == ".parquet":
        yield from _parquet(file)
        return
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Mistake(f"The text {str(file)!r} is not UTF-8 (byte {error.start}); convert it first.") from error
    if "\0" in text[:10_000]:
        raise Mistake(f"The text {str(file)!r} is binary; give a .txt, .jsonl or .parquet file.")
    yield from _jsonl(file, text) if file.suffix == ".jsonl" else passages(text)


def _jsonl(file: Path, text: str) -> Iterator[str]:
    for line_number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise Mistake(f"Line {line_number} of {str(file)!r} is not JSON: {error.msg}.") from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise Mistake(f'Line {line_number} of {str(file)!r} has no "text"; write {{"text": "..."}} on each line.')
        yield row["text"]


def _parquet(file: Path) -> Iterator[str]:
    table = pq.ParquetFile(file)
    if "text" not in table.schema_arrow.names:
        raise Mistake(f"{str(file)!r} has columns {table.schema_arrow.names}; it needs one called 'text'.")
    for batch in table.iter_batches(columns=["text"]):
        yield from (text or "" for text in batch.column(0).to_pylist())


def passages(text: str, size: int = PASSAGE) -> Iterator[str]:
    """`text` in passages of at least `size` characters, cut at line ends; lines of a paragraph are joined."""
    paragraphs = re.split(r"\n\s*\n", text)
    passage: list[str] = []
    for line in (line for paragraph in paragraphs for line in _lines(paragraph, size)):
        passage.append(line)
        if sum(map(len, passage)) >= size:
            yield "\n".join(passage)
            passage = []
    if passage:
        yield "\n".join(passage)


def _lines(paragraph: str, size: int) -> Iterator[str]:
    """A paragraph as one line (hard line breaks of old plain texts removed), or its own lines when it is a list."""
    lines = [line.strip() for line in paragraph.splitlines() if line.strip()]
    if sum(map(len, lines)) < size and lines and np.mean([len(line) for line in lines]) > 50:
        yield " ".join(lines)
        return
    yield from lines


def blocks(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    *,
    context: int,
    prefix: Sequence[int],
    limit: int | None = None,
) -> Blocks:
    """Documents as blocks of `context` tokens, in order, until about `limit` tokens (prefix not counted) are made."""
    room = context - len(prefix)
    rows: list[list[int]] = []
    origin: list[tuple[int, int]] = []
    made = 0
    for batch in _batches(documents, 64):
        encoded = tokenizer([d.text for d in batch], add_special_tokens=False)["input_ids"]
        for document, ids in zip(batch, encoded, strict=True):
            for start in range(0, len(ids), room):
                rows.append([*prefix, *ids[start : start + room]])
                origin.append((document.number, start))
            made += len(ids)
            if limit is not None and made >= limit:
                return _pack(rows, origin, context, len(prefix))
    return _pack(rows, origin, context, len(prefix))


def _pack(rows: list[list[int]], origin: list[tuple[int, int]], context: int, prefix: int) -> Blocks:
    length = np.array([len(row) for row in rows], dtype=np.int32)
    tokens = np.zeros((len(rows), context), dtype=np.int64)
    for place, row in zip(tokens, rows, strict=True):
        place[: len(row)] = row
    where = np.array(origin, dtype=np.int32).reshape(-1, 2)
    return Blocks(tokens, length, where[:, 0], where[:, 1], prefix)


def _batches(items: Iterable[Document], size: int) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
