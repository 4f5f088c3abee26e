"""A harvest on disk: unsorted work goes in by chunk, one sorted file set per dictionary comes out.

1. While the model runs, each chunk of documents leaves one temporary Parquet file or more per dictionary, sorted by
   latent, and beside each the same activations by token: the latents of one token after those of another.
2. When there are more than `FAN` such files, `gathered` merges so many at a time into one, and again, as external sorts
   do: each file is then read in a few pieces, however many there are.
3. The latents of a dictionary are taken in `ranges` that fit in memory; `write_range` reads each from every file, and
   writes it as one part sorted by (latent, document, position), in row groups small enough that reading one latent
   touches one or two of them. Memory depends on `ROWS`, not on how much was harvested.

Parts are written aside and renamed, and named by the harvest's digest: a harvest that was killed and run again
replaces its own parts and duplicates nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import Mistake
from data.store import Workspace

ROWS = 3_000_000
"""Activations sorted at a time: about 200 MB while sorting."""
GROUP = 16_384
"""Rows in a row group of a part: a latent of median density fills less than one."""
PIECE = 65_536
"""Rows in a row group of a temporary file."""
FAN = 64
"""Temporary files merged at a time: their ranges are then a few row groups of each."""


@dataclass(frozen=True)
class Activations:
    """Sparse activations of one dictionary, equally long columns sorted by (latent, document, position)."""

    latent: np.ndarray
    document: np.ndarray
    position: np.ndarray
    value: np.ndarray
    token: np.ndarray
    """The token id at which the latent fired; not kept in the final parts, where the tokens' own parts tell it."""

    def __len__(self) -> int:
        return len(self.latent)

    def table(self, *, token: bool) -> pa.Table:
        """As columns; `token` says whether that one is among them."""
        columns = {"latent": self.latent, "document": self.document, "position": self.position}
        kept: dict[str, np.ndarray] = columns | {"token": self.token} if token else columns
        integers = {name: pa.array(values, pa.int32()) for name, values in kept.items()}
        return pa.table(integers | {"value": pa.array(self.value, pa.float32())})

    @classmethod
    def join(cls, pieces: Sequence[Activations]) -> Activations:
        """Pieces whose documents follow one another, as one. A stable sort by latent keeps the order within."""
        whole = [np.concatenate([getattr(p, name) for p in pieces]) for name in cls.__dataclass_fields__]
        order = sort_stably(whole[0])
        return cls(*(column[order] for column in whole))

    @classmethod
    def of(cls, table: pa.Table) -> Activations:
        """The columns of a temporary file."""
        return cls(*(table.column(name).to_numpy() for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class Files:
    """Where the files of one harvest are."""

    workspace: Workspace
    harvest: str

    @property
    def scratch(self) -> Path:
        """The folder of temporary files, gone once the harvest is complete."""
        return self.workspace.folder / "activations" / f".chunks-{self.harvest}"

    def tokens(self, number: int) -> Path:
        return self.workspace.folder / "tokens" / self.harvest / f"part-{number:05d}.parquet"

    def all_tokens(self) -> list[Path]:
        """The parts that hold the documents' tokens, in order of document."""
        return sorted(self.tokens(0).parent.glob("part-*.parquet"))

    def chunk(self, dictionary: str, number: int, piece: int) -> Path:
        """The activations of one piece of a chunk, by latent."""
        return self.scratch / dictionary / f"chunk-{number:05d}-{piece:05d}.parquet"

    def together(self, dictionary: str, number: int, piece: int) -> Path:
        """The same, by token."""
        return self.scratch / dictionary / f"together-{number:05d}-{piece:05d}.parquet"

    def rows(self, dictionary: str, number: int) -> Path:
        """The rows of `features` for the latents of one part."""
        return self.scratch / dictionary / f"features-{number:05d}.parquet"

    def part(self, dictionary: str, number: int) -> Path:
        return self.workspace.folder / "activations" / dictionary / f"part-{self.harvest}-{number:05d}.parquet"

    def parts(self, dictionary: str) -> list[Path]:
        """The parts of `dictionary` in this harvest, in order of latent."""
        return sorted((self.workspace.folder / "activations" / dictionary).glob(f"part-{self.harvest}-*.parquet"))

    def done(self, number: int) -> Path:
        """The mark that chunk `number` is there whole."""
        return self.scratch / f"done-{number:05d}"

    def write(self, path: Path, table: pa.Table, group: int = GROUP) -> None:
        """Writes one Parquet file, whole or not at all."""
        self.workspace.write_part(path.relative_to(self.workspace.folder), table, row_group_size=group)

    def stream(self, path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch | pa.Table]) -> None:
        """Writes one Parquet file of as many row groups as there are `batches`, whole or not at all."""
        aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with pq.ParquetWriter(aside, schema) as writer:
                for batch in batches:
                    writer.write(batch, row_group_size=PIECE)
            aside.replace(path)
        except OSError as error:
            raise Mistake(
                f"Writing {path} failed: {error.strerror or error}. Nothing was left half-written."
            ) from error
        finally:
            aside.unlink(missing_ok=True)

    def prune(self, dictionary: str, parts: int) -> None:
        """Removes parts beyond the first `parts`, and what a killed process left of any."""
        folder = self.part(dictionary, 0).parent
        keep = {self.part(dictionary, number) for number in range(parts)}
        for path in {*self.parts(dictionary), *folder.glob(f".part-{self.harvest}-*.tmp")} - keep:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes the temporary files."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def opened(path: Path | str, columns: Sequence[str] = ()) -> pq.ParquetFile:
    """The Parquet file at `path`. Raises `Mistake` when it is gone, damaged, or lacks one of `columns`."""
    try:
        file = pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from error
    if missing := [name for name in columns if name not in file.schema_arrow.names]:
        raise unreadable(path, ValueError(f"it has no column {', '.join(missing)}"))
    return file


def unreadable(path: Path | str, error: BaseException) -> Mistake:
    """What to say of a part that cannot be read."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return Mistake(
        f"The part {str(path)!r} of a harvest cannot be read ({reason}). Remove it and run `lacewing harvest` again: "
        f"what is missing is made anew."
    )


def sort_stably(keys: np.ndarray) -> np.ndarray:
    """The order in which `keys`, which are not negative, ascend; equal ones stay in theirs. 16 bits are four times as
    quick to sort as 32: numpy counts them instead of comparing."""
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    if len(keys) and int(keys.max()) >> 16:
        high = (keys >> 16).astype(np.uint16)
        order = order[np.argsort(high[order], kind="stable")]
    return order


def gathered(files: Files, dictionary: str, paths: Sequence[Path], latents: int) -> list[Path]:
    """Files with the content of `paths`, at most `FAN` of them, in the same order of documents."""
    paths, level = list(paths), 0
    while len(paths) > FAN:
        groups = [paths[at : at + FAN] for at in range(0, len(paths), FAN)]
        paths = [
            _merged(files, files.scratch / dictionary / f"merged-{level}-{number:05d}.parquet", group, latents)
            for number, group in enumerate(groups)
        ]
        level += 1
    return paths


def _merged(files: Files, path: Path, group: Sequence[Path], latents: int) -> Path:
    """One file of the activations in `group`, made range by range, unless it is there already."""
    if not path.is_file():
        with parquet(group[0]) as file:
            schema = file.schema_arrow
        parts = (read_range(group, span).table(token=True) for span in ranges(counted(group, latents)))
        files.stream(path, schema, parts)
    return path


def ranges(counts: np.ndarray, rows: int = 0) -> list[range]:
    """All latents in successive ranges of at most `rows` (default `ROWS`) activations, or of a single latent."""
    rows = rows or ROWS
    total = np.concatenate([[0], np.cumsum(counts)])
    cuts = [0]
    while cuts[-1] < len(counts):
        fitting = int(np.searchsorted(total, total[cuts[-1]] + rows, side="right")) - 1
        cuts.append(max(fitting, cuts[-1] + 1))
    return [range(a, b) for a, b in itertools.pairwise(cuts)]


def counted(paths: Sequence[Path], latents: int) -> np.ndarray:
    """How many activations each latent has in temporary files `paths`."""
    counts = np.zeros(latents, dtype=np.int64)
    for path in paths:
        with parquet(path) as file:
            for batch in file.iter_batches(1 << 20, columns=["latent"]):
                counts += np.bincount(batch.column(0).to_numpy(), minlength=latents)
    return counts


def read_range(paths: Sequence[Path], span: range) -> Activations:
    """The activations of the latents in `span`, from temporary files in the order of their documents."""
    pieces = [found for path in paths if (found := _part_of(path, span)) is not None]
    return Activations.join(pieces) if pieces else _nothing()


def _nothing() -> Activations:
    integer = np.zeros(0, np.int32)
    return Activations(integer, integer, integer, np.zeros(0, np.float32), integer)


def _part_of(path: Path, span: range) -> Activations | None:
    with parquet(path) as file:
        groups = [number for number, (low, high) in enumerate(spans_of(file)) if low < span.stop and high >= span.start]
        if not groups:
            return None
        found = Activations.of(file.read_row_groups(groups))
    begin, end = np.searchsorted(found.latent, [span.start, span.stop])
    return Activations(*(getattr(found, name)[begin:end] for name in Activations.__dataclass_fields__))


@contextlib.contextmanager
def parquet(path: Path | str, columns: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """The Parquet file at `path`; raises `Mistake` when it is damaged, at the front or further in."""
    with opened(path, columns) as file:
        try:
            yield file
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, error) from error


def spans_of(file: pq.ParquetFile) -> Iterator[tuple[int, int]]:
    """The least and greatest latent of each row group of a file whose first column is the latent."""
    for number in range(file.metadata.num_row_groups):
        statistics = file.metadata.row_group(number).column(0).statistics
        yield (statistics.min, statistics.max) if statistics is not None and statistics.has_min_max else (0, -1)


__all__ = [
    "Activations",
    "Files",
    "counted",
    "gathered",
    "opened",
    "parquet",
    "ranges",
    "read_range",
    "sort_stably",
    "spans_of",
    "unreadable",
]
