"""Windows of text around a feature's activations, and windows where it is silent.

1. `Reader` opens a harvest: token lists by document, and one latent's activations at a time, found by the row groups'
   statistics (a few milliseconds each; no torch, no database connection).
2. `shown` draws windows for an explainer: half the strongest, half one from each equal-count stratum of strength,
   each window placed so that its peak stands at three quarters (what comes before matters, since models are causal).
3. `judged` draws windows for a scorer: documents are tiled; tiles with any activation are positive, drawn equally
   from quintiles of strength, tiles in which the latent is silent at every token are negative and are drawn at random.
   Positives and negatives are cut the same way, so nothing but the feature tells them apart. A latent so dense that few
   tiles are silent gets shorter tiles.

Both draw from one half of the documents (`explain` or `score`), never the same text twice. A latent that is dead or too
rare raises `TooFew`, which callers store as the error of a row.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autointerp.shards import Files
from data.errors import Mistake
from data.store import Workspace

LENGTHS = (12, 6)
"""Tokens in a window: the longest at which a latent has enough silent ones."""
STRATA = 5
FEWEST = 4
"""Positive windows below which a latent is too rare to be explained or scored."""


class TooFew(Exception):
    """A latent has too few windows of some kind; the message is stored as the row's error."""


@dataclass(frozen=True)
class Window:
    """Tokens of one document from `start` on, and a latent's activation at each (0 where it is silent)."""

    document: int
    start: int
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    values: tuple[float, ...]
    half: str
    kind: str = ""
    """`active`, or the kind of silent window: `random`, `near` or `neighbour`; empty where it was not drawn."""
    quantile: int = -1
    """Its stratum of strength among the latent's windows of that half: 0 the weakest .. STRATA - 1; -1 where silent."""

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def strength(self) -> float:
        return max(self.values)

    @property
    def active(self) -> bool:
        return self.strength > 0

    @property
    def peak(self) -> int:
        """The place within the window of the largest activation."""
        return int(np.argmax(self.values))

    def record(self) -> dict[str, Any]:
        """Where the window is, for the `details` of a row; its text can be found again from this."""
        return {"document": self.document, "start": self.start, "length": len(self.ids)}


@dataclass(frozen=True)
class Firings:
    """One latent's activations, sorted by document and position."""

    document: np.ndarray
    position: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Tiles:
    """All tiles of one length in one half: document, start, size [tiles]; each document's `first` and their `count`."""

    document: np.ndarray
    start: np.ndarray
    size: np.ndarray
    first: dict[int, int]
    count: dict[int, int]


class Reader:
    """A harvest of one dictionary, for reading. Raises `Mistake` when there is none."""

    def __init__(self, workspace: Workspace, dictionary: str, harvest: str | None = None) -> None:
        self.harvest = harvest or newest_harvest(workspace, dictionary)
        self.dictionary = dictionary
        self._files = Files(workspace, self.harvest)

    @functools.cached_property
    def documents(self) -> pa.Table:
        """The harvest's documents: document, half, ids, text (tokens as spelled)."""
        return tokens_of(self.source)

    @functools.cached_property
    def source(self) -> tuple[str, ...]:
        """The parts that hold the documents' tokens, equal for all dictionaries of a harvest."""
        return tuple(str(path) for path in sorted(self._files.tokens(0).parent.glob("part-*.parquet")))

    @functools.cached_property
    def half(self) -> dict[int, str]:
        """Which half each document is in."""
        columns = (self.documents.column(name).to_pylist() for name in ("document", "half"))
        return dict(zip(*columns, strict=True))

    @functools.cached_property
    def length(self) -> dict[int, int]:
        """How many tokens each document has."""
        sizes = pc.call_function("list_value_length", [self.documents.column("ids")]).to_pylist()
        return dict(zip(self.half, sizes, strict=True))

    @functools.cached_property
    def _rows(self) -> dict[int, int]:
        return {number: row for row, number in enumerate(self.half)}

    @functools.cached_property
    def _parts(self) -> list[tuple[pq.ParquetFile, list[tuple[int, int]]]]:
        parts = [pq.ParquetFile(path, memory_map=True) for path in self._files.parts(self.dictionary)]
        return [(part, list(_spans(part))) for part in parts]

    def firings(self, latent: int) -> Firings:
        """The activations of `latent`, from the row groups that can hold it."""
        found: list[pa.Table] = []
        for part, spans in self._parts:
            groups = [number for number, (low, high) in enumerate(spans) if low <= latent <= high]
            if groups:
                table = part.read_row_groups(groups)
                column = table.column("latent").to_numpy()
                begin, end = np.searchsorted(column, [latent, latent + 1])
                found.append(table.slice(begin, end - begin))
        if not found:
            return Firings(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
        whole = pa.concat_tables(found)
        return Firings(*(whole.column(name).to_numpy() for name in ("document", "position", "value")))

    def window(self, document: int, start: int, length: int, firings: Firings) -> Window:
        """The window of `document` from `start` on, at most `length` tokens."""
        row = self._rows[document]
        ids = self.documents.column("ids")[row].values[start : start + length].to_pylist()
        tokens = self.documents.column("text")[row].values[start : start + length].to_pylist()
        begin, end = np.searchsorted(firings.document, [document, document + 1])
        values = np.zeros(len(ids))
        place = firings.position[begin:end] - start
        inside = (place >= 0) & (place < len(ids))
        values[place[inside]] = firings.value[begin:end][inside]
        return Window(document, start, tuple(ids), tuple(tokens), tuple(values.tolist()), self.half[document])

    def tiles(self, half: str, length: int) -> Tiles:
        """The documents of `half` cut into tiles of `length`; a last piece of at least half that length is kept."""
        if (half, length) not in self._tiles:
            self._tiles[half, length] = self._tile(half, length)
        return self._tiles[half, length]

    @functools.cached_property
    def _tiles(self) -> dict[tuple[str, int], Tiles]:
        return {}

    def _tile(self, half: str, length: int) -> Tiles:
        numbers = [n for n, h in self.half.items() if h == half]
        counts = [(self.length[n] + length - length // 2) // length for n in numbers]
        document = np.repeat(numbers, counts).astype(np.int64)
        start = np.concatenate([np.arange(c) * length for c in counts] or [np.zeros(0)]).astype(np.int64)
        size = np.minimum(length, np.array([self.length[n] for n in document.tolist()], dtype=np.int64) - start)
        first = dict(zip(numbers, (np.cumsum([0, *counts])[:-1]).tolist(), strict=True))
        return Tiles(document, start, size, first, dict(zip(numbers, counts, strict=True)))


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
    return pa.concat_tables([pq.read_table(path) for path in source]).combine_chunks()


def _spans(part: pq.ParquetFile) -> Iterator[tuple[int, int]]:
    """The least and greatest latent of each row group."""
    for number in range(part.metadata.num_row_groups):
        statistics = part.metadata.row_group(number).column(0).statistics
        yield statistics.min, statistics.max


def shown(reader: Reader, latent: int, count: int, seed: int, length: int = LENGTHS[0]) -> list[Window]:
    """At most `count` activating windows of the `explain` half, strongest first. Raises `TooFew`."""
    firings = reader.firings(latent)
    peaks = _peaks(reader, firings, "explain", length)
    if len(peaks) < FEWEST:
        raise TooFew(_too_rare(firings, len(peaks), "explain"))
    best = peaks[: count // 2]
    rest = np.array_split(peaks[count // 2 :], max(count - len(best), 1))
    draw = np.random.default_rng([seed, latent])
    drawn = [*best, *(draw.choice(stratum) for stratum in rest if len(stratum))]
    stratum = dict(zip(peaks.tolist(), strata(len(peaks))[::-1].tolist(), strict=True))
    windows = (
        replace(_around(reader, firings, int(at), length), kind="active", quantile=stratum[int(at)]) for at in drawn
    )
    return sorted(distinct(windows), key=lambda w: -w.strength)


def judged(reader: Reader, latent: int, half: str, count: int, seed: int) -> list[Window]:
    """At most `count` windows of `half`, half of them active, shuffled. Raises `TooFew`."""
    firings = reader.firings(latent)
    draw = np.random.default_rng([seed, latent, len(half)])
    for length in LENGTHS:
        tiles = reader.tiles(half, length)
        strength = _strength(tiles, firings, length)
        active, silent = np.flatnonzero(strength), np.flatnonzero(strength == 0)
        if len(active) < FEWEST:
            raise TooFew(_too_rare(firings, len(active), half))
        if len(silent) >= count // 2:
            weakest = active[np.argsort(strength[active], kind="stable")]
            stratum = np.full(len(strength), -1)
            stratum[weakest] = strata(len(weakest))
            order = [_stratified(weakest, draw), draw.permutation(silent)]
            found = _different(reader, tiles, order, count // 2, length=length, firings=firings, stratum=stratum)
            return [found[i] for i in draw.permutation(len(found))]
    raise TooFew(f"too dense: fewer than {count // 2} windows of {LENGTHS[-1]} tokens in the {half} half are silent")


def strata(count: int) -> np.ndarray:
    """The stratum of each of `count` windows ordered from the weakest on: `STRATA` strata of equal counts."""
    return np.repeat(np.arange(STRATA), [len(s) for s in np.array_split(np.arange(count), STRATA)])


def distinct(windows: Iterable[Window]) -> Iterator[Window]:
    """`windows` without those whose tokens were seen before."""
    seen: set[tuple[int, ...]] = set()
    for window in windows:
        if window.ids not in seen:
            seen.add(window.ids)
            yield window


def _too_rare(firings: Firings, windows: int, half: str) -> str:
    if not len(firings.value):
        return "dead: it never fired in the harvest"
    fired = f"{len(firings.value)} firing{'s' if len(firings.value) > 1 else ''}"
    return f"too rare: {fired} in the harvest, active in {windows} windows of the {half} half; {FEWEST} are needed"


def _peaks(reader: Reader, firings: Firings, half: str, length: int) -> np.ndarray:
    """Indices into `firings` of the strongest activation of each tile, strongest first."""
    inside = np.array([reader.half[d] == half for d in firings.document.tolist()], dtype=bool)
    order = np.argsort(-firings.value, kind="stable")
    order = order[inside[order]]
    tile = firings.document[order].astype(np.int64) << 32 | firings.position[order] // length
    return order[np.sort(np.unique(tile, return_index=True)[1])]


def _around(reader: Reader, firings: Firings, index: int, length: int) -> Window:
    document, position = int(firings.document[index]), int(firings.position[index])
    last = max(reader.length[document] - length, 0)
    return reader.window(document, min(max(position - length * 3 // 4, 0), last), length, firings)


def _strength(tiles: Tiles, firings: Firings, length: int) -> np.ndarray:
    """The largest activation in each tile."""
    strength = np.zeros(len(tiles.document))
    tile = firings.position // length
    first = np.array([tiles.first.get(d, -1) for d in firings.document.tolist()], dtype=np.int64)
    count = np.array([tiles.count.get(d, 0) for d in firings.document.tolist()], dtype=np.int64)
    inside = tile < count
    np.maximum.at(strength, (first + tile)[inside], firings.value[inside])
    return strength


def _different(
    reader: Reader,
    tiles: Tiles,
    orders: Sequence[Sequence[int] | np.ndarray],
    count: int,
    *,
    length: int,
    firings: Firings,
    stratum: np.ndarray,
) -> list[Window]:
    """The first `count` tiles of each of `orders` as windows, passing over those whose tokens were seen before."""
    found: list[Window] = []
    for order in orders:
        seen = {window.ids for window in found}
        windows = (
            replace(
                reader.window(int(tiles.document[t]), int(tiles.start[t]), length, firings),
                kind="active" if stratum[t] >= 0 else "random",
                quantile=int(stratum[t]),
            )
            for t in order
        )
        found += itertools.islice((w for w in distinct(windows) if w.ids not in seen), count)
    return found


def _stratified(ordered: Sequence[int] | np.ndarray, draw: np.random.Generator) -> list[int]:
    """`ordered`, so that however many are taken, they come equally from each of its `STRATA` equal-count strata."""
    strata = [draw.permutation(s).tolist() for s in np.array_split(np.asarray(ordered), STRATA)]
    return [s[i] for i in range(max(map(len, strata))) for s in reversed(strata) if i < len(s)]
