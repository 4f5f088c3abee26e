"""The documents of a harvest, read as they are asked for.

1. A piece is a row group of a token part: some 64 documents. The piece that holds a document is found by bisection on
   the least and greatest document that Parquet keeps in the footers, so a harvest of any length costs one piece a document.
2. Pieces are kept until they take more than `KEPT` bytes; the one used longest ago goes first.
3. `pool` is a sample of pieces, the same for all features, in which silent text is looked for.
"""

from __future__ import annotations

import bisect
import functools
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.rowgroups import footer_of
from autointerp.shards import Files
from data.errors import Mistake
from data.store import Workspace
from data.words import digest

KEPT = 200_000_000
POOL = 250_000
"""Tokens in which silent text is looked for, about."""
PIECES = 16
"""Pieces that the pool has at the most."""


@dataclass(frozen=True)
class Piece:
    """Some documents in order of their numbers: their halves, where each begins among the tokens of all, these tokens."""

    document: np.ndarray
    half: tuple[str, ...]
    begin: np.ndarray
    """[documents + 1]"""
    tokens: pa.Array

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """The number in `vocabulary` of each token."""
        return self._encoded.indices.to_numpy()

    @functools.cached_property
    def vocabulary(self) -> list[str]:
        """The distinct tokens."""
        return self._encoded.dictionary.to_pylist()

    @functools.cached_property
    def _encoded(self) -> pa.DictionaryArray:
        return self.tokens.dictionary_encode()

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return int(self.begin[-1])


@dataclass(frozen=True)
class Document:
    """One document: its number, which half it is in, and its tokens."""

    number: int
    half: str
    tokens: pa.Array

    def spelled(self, start: int, size: int) -> tuple[str, ...]:
        """At most `size` tokens from `start` on."""
        return tuple(self.tokens.slice(start, size).to_pylist())


class Documents:
    """The documents of one harvest. Raises `Mistake` when it has no tokens in this workspace."""

    def __init__(self, workspace: Workspace, harvest: str) -> None:
        self.harvest = harvest
        self.parts = Files(workspace, harvest).all_tokens()
        self._seen: dict[int, Document] = {}
        if not self.parts:
            raise Mistake(f"tokens/{harvest} holds no parts in this workspace.")

    def __getitem__(self, number: int) -> Document:
        """The document of that number; raises `Mistake` when the harvest has none."""
        if number not in self._seen:
            self._seen[number] = self._find(number)
        return self._seen[number]

    def _find(self, number: int) -> Document:
        piece = self._piece_of(number)
        row = int(np.searchsorted(piece.document, number)) if piece else 0
        if piece is None or row == len(piece.document) or piece.document[row] != number:
            raise Mistake(f"Harvest {self.harvest} has no document {number}.")
        begin, end = int(piece.begin[row]), int(piece.begin[row + 1])
        return Document(number, piece.half[row], piece.tokens.slice(begin, end - begin))

    def pool(self) -> list[Piece]:
        """Pieces drawn by lot, once for the harvest, of about `POOL` tokens together."""
        draw = np.random.default_rng(int(digest("pool", self.harvest, length=8), 16))
        found: list[Piece] = []
        for number in draw.permutation(len(self.parts)).tolist():
            for group in range(footer_of(self.parts[number]).num_row_groups):
                if len(found) == PIECES or sum(p.size for p in found) >= POOL:
                    return found
                found.append(_KEPT.piece(self.parts[number], group))
        return found

    def _piece_of(self, number: int) -> Piece | None:
        at = bisect.bisect_left(range(len(self.parts)), number, key=lambda part: _last(self.parts[part]))
        if at == len(self.parts):
            return None
        path = self.parts[at]
        groups = range(footer_of(path).num_row_groups)
        group = bisect.bisect_left(groups, number, key=lambda group: _bounds(path, group)[1])
        return _KEPT.piece(path, group) if group < len(groups) else None


@functools.lru_cache(maxsize=8192)
def _last(path: Path) -> int:
    """The greatest document of a part; a part without rows holds none."""
    groups = footer_of(path).num_row_groups
    return _bounds(path, groups - 1)[1] if groups and footer_of(path).num_rows else -1


@functools.lru_cache(maxsize=8192)
def _bounds(path: Path, group: int) -> tuple[int, int]:
    """The least and greatest document of a row group; a part never changes once it is written."""
    found = footer_of(path).row_group(group)
    columns = (found.column(i) for i in range(found.num_columns))
    statistics = next((c.statistics for c in columns if c.path_in_schema == "document"), None)
    if statistics is None or not statistics.has_min_max:
        raise Mistake(f"The token part {path.parent.name}/{path.name} does not say which documents it holds.")
    return statistics.min, statistics.max


class _Pieces:
    """Pieces that were read, within `KEPT` bytes; asked by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[Path, int, int], Piece] = OrderedDict()

    def piece(self, path: Path, group: int) -> Piece:
        """Row group `group` of the part at `path`. Raises `Mistake` when it cannot be read."""
        try:
            key = (path, group, path.stat().st_mtime_ns)
        except OSError as error:
            raise Mistake(f"The token part {path.name} cannot be read ({error.strerror}).") from error
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        made = _read(path, group)
        with self._lock:
            self._found[key] = made
            while len(self._found) > 1 and sum(p.tokens.nbytes for p in self._found.values()) > KEPT:
                self._found.popitem(last=False)
        return made


_KEPT = _Pieces()


def _read(path: Path, group: int) -> Piece:
    try:
        with pq.ParquetFile(path, memory_map=True, metadata=footer_of(path)) as part:
            table = part.read_row_group(group, columns=["document", "half", "text"], use_threads=False)
        number = table.column("document").to_numpy()
        table = (table if (np.diff(number) > 0).all() else table.sort_by("document")).combine_chunks()
        text = table.column("text").combine_chunks()
        offsets = text.offsets.to_numpy().astype(np.int64)
        half = tuple(table.column("half").to_pylist())
        return Piece(table.column("document").to_numpy(), half, offsets - offsets[0], text.flatten())
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise Mistake(
            f"The token part {path.parent.name}/{path.name} cannot be read ({str(error).splitlines()[0]}). "
            f"Run `lacewing harvest` again to write it anew."
        ) from error
