"""Where text comes from: a file, a folder of files, a dataset of the Hugging Face hub, or the bundled sample.

1. `find` tells from a name which it is: `book.txt`, `rows.jsonl.gz`, `rows.parquet#body`, `corpus/`,
   `owner/name@revision:config:split#column` (all but `owner/name` may be left out). Rows have their text in the
   column `text` unless `#` names another.
2. `Files` and `Hub` are read lazily, a line, a batch of rows or a download at a time: memory does not grow with the text.
3. A text file is cut at line ends into passages of about `PASSAGE` characters; elsewhere a row is a document.
4. Reading may begin at a document's number: what comes before is passed over as cheaply as its format allows.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import TextIOWrapper
from itertools import repeat
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import Mistake
from data.words import digest, digest_files

PASSAGE = 2000
COLUMN = "text"
SUFFIXES = (".txt", ".jsonl", ".parquet")
LONGEST = 1_000_000
"""Characters of a text file's line that are read at a time: a longer one is cut there, so that memory is bounded."""
BATCH = 256
"""Rows of a Parquet file that are read at a time."""
HUB = re.compile(
    r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[^:#]+))?(:(?P<config>[^:#]*))?(:(?P<split>[^:#]+))?(#(?P<column>.+))?"
)


@dataclass(frozen=True)
class Passage:
    """A document's text; `running` when it goes on in the next one, as passages of a book do."""

    text: str
    running: bool


@runtime_checkable
class Source(Protocol):
    """A text, whatever it is kept in. Both methods raise `Mistake` when it cannot be read."""

    def passages(self, start: int = 0) -> Iterator[Passage | None]:
        """Its documents in order; None in place of each one before number `start`."""
        ...

    def digest(self) -> str:
        """What it is known by: equal when the text is equal."""
        ...


def find(path: str | None) -> Source:
    """The text that `path` names (None: the bundled sample). Raises `Mistake` when there is none of that name."""
    if path is None:
        return Files("the sample", (Path(__file__).parent / "sample" / "public_domain.txt.gz",), COLUMN)
    place, column = path, COLUMN
    if not Path(path).expanduser().exists() and "#" in path:
        place, _, column = path.rpartition("#")
    file = Path(place).expanduser()
    if file.is_dir():
        return Files(path, _files_in(file), column)
    if file.is_file():
        return Files(path, (file,), column)
    if (named := HUB.fullmatch(path)) and kind_of(Path(named["name"])) not in SUFFIXES:
        return Hub(named["name"], named["config"] or None, named["split"] or "train", named["revision"], column)
    raise Mistake(
        f"The text {path!r} is not a file or a folder. Give a .txt, .jsonl or .parquet file (or .txt.gz, .jsonl.gz), "
        f"a folder of them, or a dataset of the hub as OWNER/NAME with --text."
    )


def _files_in(folder: Path) -> tuple[Path, ...]:
    found = tuple(sorted(file for file in folder.rglob("*") if file.is_file() and kind_of(file) in SUFFIXES))
    if not found:
        raise Mistake(f"The folder {str(folder)!r} has no {', '.join(SUFFIXES)} file (or .gz) to read text from.")
    return found


def kind_of(file: Path) -> str:
    """A file's suffix, without the `.gz` of a compressed one."""
    return Path(file.name.removesuffix(".gz")).suffix


@dataclass(frozen=True)
class Files:
    """Text in files, one after another; their documents are numbered through."""

    name: str
    files: tuple[Path, ...]
    column: str

    def passages(self, start: int = 0) -> Iterator[Passage | None]:
        number = 0
        for file in self.files:
            running = kind_of(file) not in (".jsonl", ".parquet")
            for text in self._texts(file, start - number):
                number += 1
                yield None if text is None else Passage(text, running)

    def _texts(self, file: Path, start: int) -> Iterator[str | None]:
        if kind_of(file) == ".parquet":
            return _parquet(file, self.column, start)
        if kind_of(file) == ".jsonl":
            return _jsonl(file, self.column, start)
        return _from(start, passages(_lines(file, LONGEST)))

    def digest(self) -> str:
        return digest("files", digest_files(self.files, length=64), self.column)


def _from(start: int, texts: Iterable[str]) -> Iterator[str | None]:
    for number, text in enumerate(texts):
        yield text if number >= start else None


def _lines(file: Path, longest: int = -1) -> Generator[str]:
    """The lines of a text file, with their ends; pieces of at most `longest` characters of longer ones."""
    seen = 0
    try:
        with _open(file) as stream:
            while line := stream.readline(longest):
                if seen < 10_000 and "\0" in line:
                    raise Mistake(f"The text {str(file)!r} is binary; give a .txt, .jsonl or .parquet file.")
                seen += len(line)
                yield line
    except UnicodeDecodeError as error:
        raise Mistake(f"The text {str(file)!r} is not UTF-8 (byte {_bad_byte(file)}); convert it first.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Mistake(f"The text {str(file)!r} is not a whole gzip file: {error}") from error
    except OSError as error:
        raise Mistake(f"The text {str(file)!r} cannot be read: {error.strerror}.") from error


def _open(file: Path) -> TextIOWrapper:
    if file.suffix == ".gz":
        return cast(TextIOWrapper, gzip.open(file, "rt", encoding="utf-8"))
    return file.open(encoding="utf-8")


def _bad_byte(file: Path) -> int:
    """Where the first byte is that is not UTF-8, looked for in pieces."""
    done, rest = 0, b""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            whole = rest + piece
            try:
                whole.decode()
                rest = b""
            except UnicodeDecodeError as error:
                if error.start < len(whole) - 3:  # nearer the end it may be a character that the next piece completes
                    return done + error.start
                rest = whole[error.start :]
            done += len(whole) - len(rest)
    return done


def _jsonl(file: Path, column: str, start: int) -> Iterator[str | None]:
    number = 0
    with contextlib.closing(_lines(file)) as lines:  # a row that is no row ends the reading in the middle of the file
        for line_number, line in enumerate(lines, 1):
            if line.strip():
                yield None if number < start else _row(file, column, line_number, line)
                number += 1


def _row(file: Path, column: str, line_number: int, line: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise Mistake(f"Line {line_number} of {str(file)!r} is not JSON: {error.msg}.") from error
    if isinstance(row, dict) and isinstance(text := row.get(column), str):
        return text
    raise Mistake(
        f'Line {line_number} of {str(file)!r} has no "{column}"; write {{"{column}": "..."}} on each line'
        + (f", or name the column as {file}#COLUMN." if isinstance(row, dict) else ".")
    )


def _parquet(file: Path, column: str, start: int) -> Iterator[str | None]:
    try:
        with pq.ParquetFile(file) as table:
            _check_column(file, column, table.schema_arrow)
            for group in range(table.num_row_groups):
                rows = table.metadata.row_group(group).num_rows
                if rows > start:
                    batches = table.iter_batches(BATCH, row_groups=[group], columns=[column])
                    yield from _from(start, (text or "" for batch in batches for text in batch.column(0).to_pylist()))
                else:
                    yield from repeat(None, rows)
                start -= rows
    except (pa.ArrowException, OSError) as error:
        raise Mistake(f"The text {str(file)!r} cannot be read as Parquet: {_first_line(error)}") from error


def _check_column(file: Path, column: str, schema: pa.Schema) -> None:
    if column not in schema.names:
        raise Mistake(
            f"{str(file)!r} has columns {schema.names}; it needs one called {column!r}, or name another as "
            f"{file}#COLUMN."
        )
    kind = schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise Mistake(f"The column {column!r} of {str(file)!r} holds {kind}, not text; name another with #COLUMN.")


def passages(lines: Iterable[str], size: int = PASSAGE) -> Iterator[str]:
    """Lines as passages of at least `size` characters, cut at line ends; lines of a paragraph are joined."""
    passage: list[str] = []
    held = 0
    for line in _paragraphs(lines, size):
        passage.append(line)
        held += len(line)
        if held >= size:
            yield "\n".join(passage)
            passage, held = [], 0
    if passage:
        yield "\n".join(passage)


def _paragraphs(lines: Iterable[str], size: int) -> Iterator[str]:
    """Each paragraph shorter than `size` as one line where it is prose; the lines of others as they come."""
    paragraph: list[str] = []
    held = 0
    for line in lines:
        if not line.strip():
            yield from _joined(paragraph)
            paragraph, held = [], 0
            continue
        parts = [part.strip() for part in line.splitlines() if part.strip()]
        paragraph += parts
        held += sum(map(len, parts))
        if held >= size:
            yield from paragraph
            paragraph = []
    yield from _joined(paragraph)


def _joined(paragraph: list[str]) -> Iterator[str]:
    """A paragraph as one line (hard line breaks of old plain texts removed), or its own lines when it is a list."""
    if paragraph and np.mean([len(line) for line in paragraph]) > 50:
        yield " ".join(paragraph)
        return
    yield from paragraph


@dataclass(frozen=True)
class Hub:
    """A dataset of the Hugging Face hub, streamed: nothing of it is kept on disk."""

    name: str
    config: str | None
    split: str
    revision: str | None
    column: str

    def passages(self, start: int = 0) -> Iterator[Passage | None]:
        yield from repeat(None, start)
        try:
            for row in self._rows(start):
                yield Passage(self._text(row), running=False)
        except _failures() as error:
            raise self._unreadable(error) from error

    def digest(self) -> str:
        return digest("hub", self.name, self.config, self.split, self._commit, self.column)

    @cached_property
    def _commit(self) -> str:
        """The commit that the revision stands for now. Looked up first: it fails at once where streaming retries."""
        from huggingface_hub import HfApi

        try:
            return str(HfApi().dataset_info(self.name, revision=self.revision, timeout=10).sha)
        except _failures() as error:
            raise self._unreadable(error) from error

    def _rows(self, start: int) -> Iterable[dict[str, Any]]:
        from datasets import load_dataset

        commit = self._commit
        rows = load_dataset(self.name, self.config, split=self.split, revision=commit, streaming=True)
        return cast(Iterable[dict[str, Any]], rows.skip(start) if start else rows)

    def _text(self, row: dict[str, Any]) -> str:
        if self.column not in row:
            raise Mistake(
                f"The dataset {self.name!r} has columns {sorted(row)}; it needs one called {self.column!r}, or name "
                f"another as {self.name}#COLUMN."
            )
        if not isinstance(row[self.column], str | None):
            kind = type(row[self.column]).__name__
            raise Mistake(f"The column {self.column!r} of {self.name!r} holds {kind}, not text; name another.")
        return row[self.column] or ""

    def _unreadable(self, error: BaseException) -> Mistake:
        return Mistake(
            f"The dataset {self.name!r} is no local file or folder, and could not be read from the hub "
            f"({type(error).__name__}: {_first_line(error)}). Check its name, config and split "
            f"(OWNER/NAME:CONFIG:SPLIT) and the network, or give a local file with --text."
        )


def _failures() -> tuple[type[BaseException], ...]:
    """What the hub's clients raise when a dataset cannot be had."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import (
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # of whichever HTTP client it is built on
    )

    return (OSError, ValueError, RuntimeError, HTTPError, pa.ArrowException, DatasetsError)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")
