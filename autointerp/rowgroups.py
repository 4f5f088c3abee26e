"""One latent's rows in a dictionary's parts, found without reading the others.

1. A dictionary's parts are in order of latent and each is sorted by it, so the least and greatest latents of their row
   groups, which Parquet keeps in the footer, ascend: the first row group that can hold a latent is found by bisection,
   first among the parts, then within one. Of a million latents in hundreds of parts, some ten footers are looked at.
2. Reading goes on from there while row groups begin at or below the latent.
3. A footer is read once in a process; it is known by its path, size and time of change.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import Mistake

COLUMNS = ("latent", "document", "position", "value")
FOOTERS = 512
"""Footers kept: about 50 kB each."""


def rows_of(parts: Sequence[Path], latent: int) -> pa.Table:
    """The rows of `latent` in `parts` (in order of latent), as `COLUMNS`. Raises `Mistake` for an unreadable part."""
    found = [_read(path, latent, groups) for path, groups in _groups(parts, latent)]
    return pa.concat_tables(found) if found else pa.table({name: [] for name in COLUMNS})


def _groups(parts: Sequence[Path], latent: int) -> list[tuple[Path, range]]:
    """Which row groups of which parts can hold `latent`."""
    found: list[tuple[Path, range]] = []
    first = bisect.bisect_left(range(len(parts)), latent, key=lambda number: _last(parts, number))
    for path in parts[first:]:
        footer = footer_of(path)
        every = range(footer.num_row_groups if footer.num_rows else 0)
        begin = bisect.bisect_left(every, latent, key=lambda group: _bounds(footer, group, path)[1])
        end = bisect.bisect_right(every, latent, key=lambda group: _bounds(footer, group, path)[0])
        if begin < end:
            found.append((path, range(begin, end)))
        if end < len(every):
            break
    return found


def _last(parts: Sequence[Path], number: int) -> int:
    """The greatest latent in the parts up to `number`; a part without rows adds none."""
    for path in reversed(parts[: number + 1]):
        footer = footer_of(path)
        if footer.num_rows:
            return _bounds(footer, footer.num_row_groups - 1, path)[1]
    return -1


def _bounds(footer: pq.FileMetaData, group: int, path: Path) -> tuple[int, int]:
    """The least and greatest latent of a row group."""
    statistics = footer.row_group(group).column(0).statistics
    if statistics is None or not statistics.has_min_max:
        raise _unreadable(path, "its row groups have no statistics")
    return statistics.min, statistics.max


def footer_of(path: Path) -> pq.FileMetaData:
    """The footer of the part at `path`. Raises `Mistake` when it cannot be read."""
    try:
        known = path.stat()
        return _footer(path, known.st_size, known.st_mtime_ns)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, str(error)) from error


@functools.lru_cache(maxsize=FOOTERS)
def _footer(path: Path, _size: int, _changed: int) -> pq.FileMetaData:
    return pq.read_metadata(path)


def _read(path: Path, latent: int, groups: range) -> pa.Table:
    try:
        with pq.ParquetFile(path, memory_map=True, metadata=footer_of(path)) as part:
            table = part.read_row_groups(list(groups), columns=list(COLUMNS), use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, str(error)) from error
    column = table.column("latent").to_numpy()
    begin, end = column.searchsorted(latent), column.searchsorted(latent, "right")
    return table.slice(begin, end - begin)


def _unreadable(path: Path, why: str) -> Mistake:
    return Mistake(
        f"The part {path.parent.name}/{path.name} of the harvest cannot be read ({why.splitlines()[0]}). "
        f"Run `lacewing harvest` again to write it anew."
    )
