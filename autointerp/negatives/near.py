"""Silent windows whose text is nearest to the active ones: does the label say more than the topic?

1. `POOL` places of the half are drawn once for all latents and seeds, and their texts embedded by MiniLM; the vectors are
   kept on disk for each harvest, half and cut.
2. The active windows that were drawn are embedded, and the cosine with every window of the pool is one matrix product:
   the nearest ones are exact, no index approximates them.
3. Each active window in turn gives its nearest silent window, then each its second nearest, and so on.

Negatives of this kind were proposed for scoring by Paulo et al. 2024 (arXiv:2410.13928, "contrastive" examples).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from autointerp import embedder
from autointerp.drawing import Amount
from autointerp.places import Places
from autointerp.reader import Tiles
from autointerp.windows import Window
from data.words import digest

Options = Amount
POOL = 2000


def order(
    places: Places, active: Sequence[Window], _generator: np.random.Generator, _: Amount
) -> Int[np.ndarray, " drawn"]:
    """Silent places of the pool, nearest first, the active windows taking turns."""
    if not active:
        return np.zeros(0, dtype=np.int64)
    tiles = pool(places.tiles)
    usable = places.is_silent[tiles]
    return tiles[usable][turns(vectors(places)[usable] @ embedder.shared()([w.text for w in active]).T)]


def turns(cosine: Float[np.ndarray, "pool queries"]) -> Int[np.ndarray, " pool"]:
    """The rows of `cosine` in the order in which the columns, each in turn, would choose their greatest that is left.

    A column whose next greatest has been chosen by another column gives its turn away.
    """
    chosen = np.argsort(-cosine, axis=0, kind="stable").ravel()
    return chosen[np.sort(np.unique(chosen, return_index=True)[1])]


def pool(tiles: Tiles) -> Int[np.ndarray, " pool"]:
    """The tiles that are embedded: drawn once, so that no latent's negatives depend on another's."""
    draw = np.random.default_rng(int(digest("pool", len(tiles), tiles.length, length=8), 16))
    return np.sort(draw.choice(len(tiles), min(len(tiles), POOL), replace=False))


def vectors(places: Places) -> Float[np.ndarray, "pool width"]:
    """The pool's unit vectors: read, or made and written."""
    cut = "centred" if places.centred else "tiles"
    path = Path("embeddings") / places.reader.harvest / f"{places.half}-{places.length}-{cut}.parquet"
    kept = places.reader.workspace.folder / path
    tiles = pool(places.tiles)
    if kept.is_file():
        found = _read(kept, kept.stat().st_mtime_ns)
        if found is not None and len(found) == len(tiles):
            return found
    made = embedder.shared()(places.texts(tiles))
    columns = {"tile": pa.array(tiles), "vector": pa.FixedSizeListArray.from_arrays(made.ravel(), made.shape[1])}
    places.reader.workspace.write_part(path, pa.table(columns))
    return made


@functools.lru_cache(maxsize=8)
def _read(path: Path, _changed: int) -> np.ndarray | None:
    """The vectors at `path`; None when the file cannot be read, which only means that they are made again."""
    try:
        column = pq.read_table(path, columns=["vector"]).column("vector").combine_chunks()
    except (OSError, pa.ArrowInvalid, KeyError):
        return None
    return column.flatten().to_numpy().reshape(len(column), -1)
