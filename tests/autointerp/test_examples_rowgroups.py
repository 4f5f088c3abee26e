"""One latent's rows: as a full scan finds them, from few footers, and a sentence for a part that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autointerp import rowgroups
from autointerp.examples import Reader
from autointerp.rowgroups import rows_of
from data.errors import Mistake
from data.store import Workspace


def write(folder: Path, latents: list[np.ndarray], group: int = 7) -> list[Path]:
    """Parts whose latents are those; document counts the rows."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"part-{number:03d}.parquet" for number in range(len(latents))]
    count = 0
    for path, column in zip(paths, latents, strict=True):
        rows = np.arange(count, count + len(column))
        count += len(column)
        integers = {
            "latent": column.astype(np.int32),
            "document": rows.astype(np.int32),
            "position": rows.astype(np.int32),
        }
        pq.write_table(pa.table(integers | {"value": rows.astype(np.float32)}), path, row_group_size=group)
    return paths


@pytest.mark.parametrize("seed", range(6))
def test_rows_are_those_of_a_full_scan(tmp_path: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    latents = np.sort(draw.integers(0, 30, 200))
    latents = latents[~np.isin(latents, draw.integers(0, 30, 5))]  # some latents never fire
    cuts = np.sort(draw.integers(0, len(latents), 6))  # equal cuts are parts without rows; a latent may span parts
    paths = write(tmp_path / "parts", np.split(latents, cuts), group=int(draw.integers(1, 12)))
    for latent in range(-1, 32):
        expected = np.flatnonzero(latents == latent)
        found = rows_of(paths, latent)
        assert found.column("document").to_pylist() == expected.tolist()
        assert set(found.column("latent").to_pylist()) <= {latent}


def test_few_footers_are_read_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path / "parts", [np.arange(10 * n, 10 * n + 10) for n in range(64)])
    read: list[Path] = []
    original = pq.read_metadata

    def watched(path: Path) -> pq.FileMetaData:
        read.append(path)
        return original(path)

    monkeypatch.setattr(rowgroups.pq, "read_metadata", watched)
    assert len(rows_of(paths, 333)) == 1
    assert len(read) <= 8  # bisection of 64 parts looks at 6 or 7
    before = list(read)
    assert len(rows_of(paths, 333)) == 1
    assert read == before


def test_only_the_row_groups_of_a_latent_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path / "parts", [np.repeat(np.arange(100), 10)], group=20)
    read: list[int] = []
    original = pq.ParquetFile.read_row_groups

    def watched(self: pq.ParquetFile, groups: list[int], **options: object) -> pa.Table:
        read.extend(groups)
        return original(self, groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", watched)
    assert len(rows_of(paths, 51)) == 10
    assert read == [25]


def test_a_part_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "parts", [np.array([1, 2, 3])])
    assert len(rows_of([path], 2)) == 1
    write(tmp_path / "parts", [np.array([1, 2, 2, 2, 3, 4])])
    assert len(rows_of([path], 2)) == 3


def test_a_part_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "parts", [np.arange(50)])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(
        Mistake,
        match=r"^The part parts/part-000\.parquet of the harvest cannot be read \(.+\)\. "
        r"Run `lacewing harvest` again to write it anew\.$",
    ):
        rows_of([path], 3)


def test_a_part_without_statistics_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "part-000.parquet"
    pq.write_table(pa.table({"latent": [1, 2]}), path, write_statistics=False)
    with pytest.raises(Mistake, match=r"cannot be read \(its row groups have no statistics\)"):
        rows_of([path], 1)


def test_a_harvest_that_is_not_there_is_no_dead_latent(tmp_path: Path) -> None:
    reader = Reader(Workspace(tmp_path), "d1", "h1")
    with pytest.raises(
        Mistake,
        match=r"^Harvest 'h1' holds no activations of dictionary 'd1'\. Run `lacewing harvest` for that dictionary\.$",
    ):
        reader.firings(0)
    with pytest.raises(
        Mistake, match=r"^Harvest 'h1' has no tokens in this workspace\. Run `lacewing harvest` again\.$"
    ):
        _ = reader.documents
