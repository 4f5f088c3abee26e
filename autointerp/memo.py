"""What a local model said of a text, kept by the digest of what it was asked.

1. Rows of numbers (a sentence vector, a log-probability) under a digest, in memory and as Parquet parts under
   `cache/NAME` of the workspace: features and explanations share windows, and a text edited by hand is scored again.
2. New rows go to disk as one part when the run ends, or when `PART` of them have come, written aside and renamed. Nothing
   is ever changed, so several processes may write; what two of them computed is equal and stands there twice.
3. At most `MOST` rows are kept (of sentence vectors 450 MB); what comes later is computed whenever it is asked for.

Numbers are kept as they were computed (float32), so that a score from the cache is the same to the last bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from data.errors import Mistake
from data.store import Workspace
from data.words import digest

MOST = 300_000
PART = 4096


class Memo:
    """The kept rows called `name`, each of `width` numbers."""

    def __init__(self, workspace: Workspace, name: str, width: int = 1) -> None:
        self.workspace = workspace
        self.folder = Path("cache") / name
        self.width = width
        self.asked = 0
        self.computed = 0
        self._fresh: dict[str, np.ndarray] = {}

    @functools.cached_property
    def _kept(self) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for path in sorted((self.workspace.folder / self.folder).glob("part-*.parquet")):
            table = _read(path)
            flat = table.column("row").combine_chunks().flatten().to_numpy()
            rows = flat.reshape(-1, self.width)
            found |= dict(zip(table.column("key").to_pylist(), rows, strict=True))
        return found

    def rows(
        self, keys: Sequence[str], compute: Callable[[list[int]], Float[np.ndarray, "some width"]]
    ) -> Float[np.ndarray, "keys width"]:
        """The row of each key; `compute` is asked once for the places of those that are not known."""
        first: dict[str, int] = {}
        for at, key in enumerate(keys):
            if key not in self._kept:
                first.setdefault(key, at)
        missing = list(first.values())
        self.asked += len(keys)
        self.computed += len(missing)
        made: dict[str, np.ndarray] = {}
        if missing:
            made = dict(zip((keys[at] for at in missing), np.asarray(compute(missing), np.float32), strict=True))
            self._keep(made)
        return np.stack([made[key] if key in made else self._kept[key] for key in keys])

    def _keep(self, made: dict[str, np.ndarray]) -> None:
        room = MOST - len(self._kept)
        some = dict(list(made.items())[: max(room, 0)])
        self._kept.update(some)
        self._fresh.update(some)
        if len(self._fresh) >= PART:
            self.flush()

    def flush(self) -> None:
        """Writes what is new as a part."""
        if not self._fresh:
            return
        flat = pa.array(np.concatenate(list(self._fresh.values())), pa.float32())
        rows = pa.FixedSizeListArray.from_arrays(flat, self.width)
        name = digest(sorted(self._fresh))
        table = pa.table({"key": pa.array(list(self._fresh)), "row": rows})
        self.workspace.write_part(self.folder / f"part-{name}.parquet", table)
        self._fresh = {}


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise Mistake(
            f"The cache file {path} cannot be read. Delete it and run again: what it held is computed anew."
        ) from error


class Vectors:
    """Sentence vectors that are kept: `embed` sees new texts alone, and none at all when nothing is new."""

    def __init__(self, memo: Memo, embed: Callable[[list[str]], Float[np.ndarray, "texts width"]]) -> None:
        self.memo = memo
        self._embed = embed

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "texts width"]:
        """A unit vector for each text."""
        keys = [digest(text, length=24) for text in texts]
        return self.memo.rows(keys, lambda places: self._embed([texts[at] for at in places]))
