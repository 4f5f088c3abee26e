"""A harvest whose answers are known: texts that repeat, tokens that a feature follows, in several parts and row groups.

Latent 0 fires at every " key" but those after " no", the stronger the later the document; latent 1 at the token after a
silent " key"; latent 2 everywhere; latent 3 never.
"""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.store import Workspace

HARVEST = "evidence00000001"
DICTIONARY = "dictionaryaaaa01"
COPIED = [" a", " door", " has", " one", " key", " in", " it", "\n", "."] * 8
"""The text of every fifth document."""


def tokens(number: int) -> list[str]:
    """The tokens of document `number`."""
    if number % 5 == 0:
        return list(COPIED)
    chance = random.Random(number)
    text = [f" w{chance.randrange(40)}" for _ in range(60 + number)]
    for place in range(20, len(text), 47):
        text[place - 1 : place + 1] = [" no" if chance.random() < 0.5 else " the", " key"]
    return text


def firings(number: int) -> list[tuple[int, int, float]]:
    """(latent, position, value) of document `number`."""
    found, text = [], tokens(number)
    for place, token in enumerate(text):
        found.append((2, place, 1.0))
        if token == " key" and text[place - 1] != " no":
            found.append((0, place, round(0.1 + 0.01 * number + 0.0001 * place, 5)))
        elif token == " key" and place + 1 < len(text):
            found.append((1, place + 1, 2.0 + number))
    return found


def make(folder: Path, documents: int = 90) -> Workspace:
    """Writes it: two token parts, one of two row groups, numbered with gaps."""
    workspace = Workspace(folder)
    numbers = [3 * n + 1 for n in range(documents)]
    pieces = [numbers[: documents // 2], numbers[documents // 2 :]]
    for part, some in enumerate(pieces):
        rows = {
            "document": pa.array(some, pa.int32()),
            "half": ["explain" if n % 2 else "score" for n in some],
            "text": pa.array([tokens(n) for n in some], pa.list_(pa.string())),
        }
        path = f"tokens/{HARVEST}/part-{part:05d}.parquet"
        workspace.write_part(path, pa.table(rows), row_group_size=len(some) // 2 if part else len(some))
    every = sorted((latent, n, place, value) for n in numbers for latent, place, value in firings(n))
    kinds = {"latent": pa.int32(), "document": pa.int32(), "position": pa.int32(), "value": pa.float32()}
    columns = zip(*every, strict=True)
    table = pa.table({k: pa.array(c, t) for (k, t), c in zip(kinds.items(), columns, strict=True)})
    workspace.write_part(f"activations/{DICTIONARY}/part-{HARVEST}-00000.parquet", table, row_group_size=500)
    assert pq.read_metadata(workspace.folder / f"tokens/{HARVEST}/part-00001.parquet").num_row_groups > 1
    return workspace
