"""A harvest of one dictionary, for reading: its documents, one latent's activations at a time, and windows of both.

1. `Texts` are the documents as flat columns: all tokens one after another, and where each document begins.
2. `Firings` are one latent's activations, found by the row groups' statistics (`rowgroups.py`); the last few are kept.
3. `Tiles` are the documents of one half cut into windows of one length; which of them a latent fires in, and where most,
   is computed for all of its firings at once.

No torch and no database connection is held; a reader that is sent to another process is opened anew there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from autointerp.rowgroups import rows_of
from autointerp.shards import Files
from autointerp.windows import Window
from data.errors import Mistake
from data.store import Workspace
from data.words import digest

KEPT = 32
"""Latents whose activations a reader keeps, since explaining and scoring ask for them several times."""


@dataclass(frozen=True)
class Firings:
    """One latent's activations, sorted by document and position."""

    document: Int[np.ndarray, " firings"]
    position: Int[np.ndarray, " firings"]
    value: Float[np.ndarray, " firings"]

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True)
class Texts:
    """The documents of a harvest in order of their numbers, and the tokens of all, one after another."""

    document: Int[np.ndarray, " documents"]
    half: np.ndarray
    """`explain` or `score` [documents]."""
    begin: Int[np.ndarray, " documents"]
    """Where each document's tokens begin among `ids` and `spelled`."""
    length: Int[np.ndarray, " documents"]
    ids: Int[np.ndarray, " tokens"]
    spelled: pa.Array

    @classmethod
    def of(cls, table: pa.Table) -> Texts:
        """The documents of a table with the columns document, half, ids and text."""
        number = table.column("document").to_numpy().astype(np.int64)
        order = np.argsort(number, kind="stable")
        ids, spelled = (_joined(table.column(name)) for name in ("ids", "text"))
        bounds = ids.offsets.to_numpy().astype(np.int64)
        half = np.array(table.column("half").to_pylist(), dtype=object)
        length = np.diff(bounds)
        flat = spelled.flatten()
        return cls(
            number[order], half[order], (bounds[:-1] - bounds[0])[order], length[order], ids.flatten().to_numpy(), flat
        )

    def rows(self, documents: Int[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """The row of each of `documents`, all of which are in the harvest."""
        return self.document.searchsorted(documents)


def _joined(column: pa.ChunkedArray) -> Any:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


@dataclass(frozen=True)
class Peaks:
    """The tiles in which a latent fires, in order, and the index of its strongest firing in each (the first of equals)."""

    tile: Int[np.ndarray, " active"]
    firing: Int[np.ndarray, " active"]


@dataclass(frozen=True)
class Tiles:
    """All tiles of one length in one half; a last piece of at least half that length is one too."""

    length: int
    document: Int[np.ndarray, " tiles"]
    start: Int[np.ndarray, " tiles"]
    size: Int[np.ndarray, " tiles"]
    room: Int[np.ndarray, " tiles"]
    """How many tokens the tile's document has."""
    first: Int[np.ndarray, " documents"]
    """The first tile of each document of the harvest (by its row), and how many it has: none in the other half."""
    many: Int[np.ndarray, " documents"]
    texts: Texts

    def __len__(self) -> int:
        return len(self.document)

    @classmethod
    def cut(cls, texts: Texts, half: str, length: int) -> Tiles:
        """The documents of `half` cut into tiles of `length` tokens."""
        many = np.where(texts.half == half, (texts.length + length - length // 2) // length, 0)
        first = np.cumsum(many) - many
        row = np.repeat(np.arange(len(many)), many)
        start = (np.arange(len(row)) - first[row]) * length
        room = texts.length[row]
        return cls(length, texts.document[row], start, np.minimum(length, room - start), room, first, many, texts)

    @functools.cached_property
    def count(self) -> dict[int, int]:
        """How many tiles each document of the half has."""
        inside = self.many > 0
        return dict(zip(self.texts.document[inside].tolist(), self.many[inside].tolist(), strict=True))

    @functools.cached_property
    def centred(self) -> Int[np.ndarray, " tiles"]:
        """Where the window of a silent tile begins when windows are centred: it has no peak, so around a token drawn by
        lot, once for all latents.
        """
        draw = np.random.default_rng(int(digest("anchor", self.length, len(self), length=8), 16))
        return self.moved(self.start + draw.integers(0, np.maximum(self.size, 1)), np.arange(len(self)))

    def moved(self, place: Int[np.ndarray, " some"], tile: Int[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """Where windows begin in which each `place`, in `tile`, stands at three quarters, as far as documents reach."""
        return np.clip(place - self.length * 3 // 4, 0, np.maximum(self.room[tile] - self.length, 0))

    def peaks(self, firings: Firings) -> Peaks:
        """Where the latent fires most within each tile in which it fires."""
        row = self.texts.rows(firings.document)
        place = firings.position // self.length
        inside = np.flatnonzero(place < self.many[row])
        tile, value = (self.first[row] + place)[inside], firings.value[inside]
        if not len(tile):
            return Peaks(tile, inside)
        new = np.diff(tile, prepend=-1) > 0  # firings are in order, and so are their tiles
        group, begin = np.cumsum(new) - 1, np.flatnonzero(new)
        most = np.flatnonzero(value == np.maximum.reduceat(value, begin)[group])
        first = most[np.diff(group[most], prepend=-1) > 0]
        return Peaks(tile[begin], inside[first])

    def active(self, firings: Firings) -> Bool[np.ndarray, " tiles"]:
        """Which tiles the latent fires in."""
        found = np.zeros(len(self), dtype=bool)
        found[self.peaks(firings).tile] = True
        return found


class Reader:
    """A harvest of one dictionary, for reading. Raises `Mistake` when there is none."""

    def __init__(self, workspace: Workspace, dictionary: str, harvest: str | None = None) -> None:
        self.workspace = workspace
        self.harvest = harvest or newest_harvest(workspace, dictionary)
        self.dictionary = dictionary
        self._files = Files(workspace, self.harvest)

    def __reduce__(self) -> tuple[type[Reader], tuple[Workspace, str, str]]:
        return Reader, (self.workspace, self.dictionary, self.harvest)

    @functools.cached_property
    def documents(self) -> pa.Table:
        """The harvest's documents: document, half, ids, text (tokens as spelled)."""
        return tokens_of(self.source)

    @functools.cached_property
    def texts(self) -> Texts:
        """The harvest's documents as flat columns."""
        return _texts(self.source)

    @functools.cached_property
    def source(self) -> tuple[str, ...]:
        """The parts that hold the documents' tokens, equal for all dictionaries of a harvest."""
        found = tuple(str(path) for path in sorted(self._files.tokens(0).parent.glob("part-*.parquet")))
        if not found:
            raise Mistake(f"Harvest {self.harvest!r} has no tokens in this workspace. Run `lacewing harvest` again.")
        return found

    @functools.cached_property
    def half(self) -> dict[int, str]:
        """Which half each document is in."""
        return dict(zip(self.texts.document.tolist(), self.texts.half.tolist(), strict=True))

    @functools.cached_property
    def length(self) -> dict[int, int]:
        """How many tokens each document has."""
        return dict(zip(self.texts.document.tolist(), self.texts.length.tolist(), strict=True))

    @functools.cached_property
    def _row(self) -> dict[int, int]:
        return {number: row for row, number in enumerate(self.texts.document.tolist())}

    def firings(self, latent: int) -> Firings:
        """The activations of `latent`, from the row groups that can hold it."""
        return self._firings(latent)

    @functools.cached_property
    def _firings(self) -> Callable[[int], Firings]:
        parts = self._files.parts(self.dictionary)
        if not parts:
            raise Mistake(
                f"Harvest {self.harvest!r} holds no activations of dictionary {self.dictionary!r}. "
                f"Run `lacewing harvest` for that dictionary."
            )

        @functools.lru_cache(maxsize=KEPT)
        def read(latent: int) -> Firings:
            table = rows_of(parts, latent)
            document, position, value = (table.column(name).to_numpy() for name in ("document", "position", "value"))
            return Firings(document.astype(np.int64), position.astype(np.int64), value.astype(np.float32))

        return read

    def window(
        self, document: int, start: int, length: int, firings: Firings, kind: str = "", quantile: int = -1
    ) -> Window:
        """The window of `document` from `start` on, at most `length` tokens, of that `kind` and `quantile`."""
        texts, row = self.texts, self._row[document]
        size = max(min(length, int(texts.length[row]) - start), 0)
        at = int(texts.begin[row]) + start
        ids, tokens = texts.ids[at : at + size].tolist(), texts.spelled.slice(at, size).to_pylist()
        begin, end = firings.document.searchsorted([document, document + 1])
        place = firings.position[begin:end] - start
        inside = (place >= 0) & (place < size)
        values = np.zeros(size)
        values[place[inside]] = firings.value[begin:end][inside]
        half = str(texts.half[row])
        return Window(document, start, tuple(ids), tuple(tokens), tuple(values.tolist()), half, kind, quantile)

    def text(self, document: int, start: int, length: int) -> str:
        """The text of a window."""
        row = self._row[document]
        size = max(min(length, int(self.texts.length[row]) - start), 0)
        return "".join(self.texts.spelled.slice(int(self.texts.begin[row]) + start, size).to_pylist())

    def tiles(self, half: str, length: int) -> Tiles:
        """The documents of `half` cut into tiles of `length`; kept."""
        return _tiles(self.source, half, length)


def newest_harvest(workspace: Workspace, dictionary: str) -> str:
    """The newest harvest of `dictionary`; raises `Mistake` when it has none."""
    query = "select harvest from harvests join runs using (run) where dictionary = ? order by finished desc limit 1"
    with workspace.read() as db:
        found = db.execute(query, [dictionary]).fetchall()
    if not found:
        raise Mistake(f"Dictionary {dictionary!r} has no harvest in this workspace. Run `lacewing harvest` first.")
    return found[0][0]


@functools.lru_cache(maxsize=2)
def tokens_of(source: tuple[str, ...]) -> pa.Table:
    """The tokens in parts `source`; kept, since all dictionaries of a harvest share them and parts never change."""
    try:
        return pa.concat_tables([pq.read_table(path) for path in source]).combine_chunks()
    except (OSError, pa.ArrowInvalid) as error:
        raise Mistake(
            f"The tokens of the harvest cannot be read ({str(error).splitlines()[0]}). "
            f"Run `lacewing harvest` again to write them anew."
        ) from error


@functools.lru_cache(maxsize=2)
def _texts(source: tuple[str, ...]) -> Texts:
    return Texts.of(tokens_of(source))


@functools.lru_cache(maxsize=8)
def _tiles(source: tuple[str, ...], half: str, length: int) -> Tiles:
    return Tiles.cut(_texts(source), half, length)
