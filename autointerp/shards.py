"""A harvest on disk: unsorted work goes in by chunk, one sorted file set per dictionary comes out.

1. While the model runs, each chunk of documents is one temporary Parquet file per dictionary, sorted by latent.
2. `merge` then takes the latents of a dictionary in ranges that fit in memory, reads each range from every chunk,
   and writes it as one part sorted by (latent, document, position), in row groups small enough that reading one
   latent touches one or two of them. Memory depends on `ROWS`, not on how much was harvested.

Parts are written aside and renamed, and named by the harvest's digest: a harvest that was killed and run again
replaces its own parts and duplicates nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.store import Workspace

ROWS = 3_000_000
"""Activations sorted at a time: about 200 MB while sorting."""
GROUP = 16_384
"""Rows in a row group: a latent of median density fills less than one."""


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
    def join(cls, pieces: list[Activations]) -> Activations:
        """Pieces whose documents follow one another, as one. A stable sort by latent keeps the order within."""
        whole = [np.concatenate([getattr(p, name) for p in pieces]) for name in cls.__dataclass_fields__]
        order = np.argsort(whole[0], kind="stable")
        return cls(*(column[order] for column in whole))


@dataclass(frozen=True)
class Files:
    """Where the files of one harvest are."""

    workspace: Workspace
    harvest: str

    @property
    def scratch(self) -> Path:
        """The folder of chunks, gone once the harvest is complete."""
        return self.workspace.folder / "activations" / f".chunks-{self.harvest}"

    def tokens(self, number: int) -> Path:
        return self.workspace.folder / "tokens" / self.harvest / f"part-{number:03d}.parquet"

    def chunk(self, dictionary: str, number: int) -> Path:
        return self.scratch / dictionary / f"chunk-{number:05d}.parquet"

    def part(self, dictionary: str, number: int) -> Path:
        return self.workspace.folder / "activations" / dictionary / f"part-{self.harvest}-{number:03d}.parquet"

    def parts(self, dictionary: str) -> list[Path]:
        """The parts of `dictionary` in this harvest, in order of latent."""
        return sorted((self.workspace.folder / "activations" / dictionary).glob(f"part-{self.harvest}-*.parquet"))

    def complete(self, dictionaries: list[str], number: int) -> bool:
        """Whether chunk `number` is there from a run that was cut short."""
        return self.tokens(number).is_file() and all(self.chunk(d, number).is_file() for d in dictionaries)

    def write(self, path: Path, table: pa.Table, group: int = GROUP) -> None:
        """Writes one Parquet file, whole or not at all."""
        self.workspace.write_part(path.relative_to(self.workspace.folder), table, row_group_size=group)

    def clear(self) -> None:
        """Removes the chunks."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def merge(files: Files, dictionary: str, chunks: int, latents: int) -> Iterator[tuple[range, Activations]]:
    """Writes the sorted parts of `dictionary`, and yields each range of latents with its activations."""
    for old in files.parts(dictionary):
        old.unlink()
    paths = [files.chunk(dictionary, number) for number in range(chunks)]
    for number, span in enumerate(ranges(_counts(paths, latents))):
        activations = Activations.join([_read(path, span) for path in paths])
        files.write(files.part(dictionary, number), activations.table(token=False))
        yield span, activations


def ranges(counts: np.ndarray, rows: int = 0) -> list[range]:
    """All latents in successive ranges of at most `rows` (default `ROWS`) activations, or of a single latent."""
    rows = rows or ROWS
    cuts, held = [0], 0
    for latent, count in enumerate(counts.tolist()):
        if held and held + count > rows:
            cuts.append(latent)
            held = 0
        held += count
    return [range(a, b) for a, b in zip(cuts, [*cuts[1:], len(counts)], strict=True)]


def _counts(paths: list[Path], latents: int) -> np.ndarray:
    counts = np.zeros(latents, dtype=np.int64)
    for path in paths:
        column = pq.read_table(path, columns=["latent"]).column("latent").to_numpy()
        counts += np.bincount(column, minlength=latents)
    return counts


def _read(path: Path, span: range) -> Activations:
    table = pq.read_table(path, filters=[("latent", ">=", span.start), ("latent", "<", span.stop)])
    return Activations(*(table.column(name).to_numpy() for name in Activations.__dataclass_fields__))
