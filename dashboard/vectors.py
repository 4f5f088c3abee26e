"""Sentence vectors of what is said of features, kept in the workspace, and the nearest of them to another.

1. `embeddings/MODEL/` holds pieces: `NAME.npy`, unit vectors in fp32 [texts, width], and `NAME.keys.npy`, the MD5 of each
   text. A piece is written aside and renamed, its keys last: a piece without keys is not there.
2. `Vectors` maps them into memory, so that pages share them with the system's cache; `nearest` is a plain product.
3. `merge` makes one piece of many.

Nothing here makes a vector: the engine does (`operations/index.py`).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from autointerp.embedder import NAME as MODEL
from autointerp.embedder import PACKAGE, WIDTH
from data.errors import Mistake
from data.words import digest

MANY = 32
"""Pieces above which they are merged."""


def installed() -> bool:
    """Whether the model that makes vectors is there; nothing is imported."""
    return importlib.util.find_spec(PACKAGE) is not None


def folder_of(workspace: Path) -> Path:
    """Where a workspace keeps its vectors."""
    return workspace / "embeddings" / MODEL


@dataclass(frozen=True)
class Piece:
    """Some texts: their keys, and a vector for each."""

    keys: np.ndarray
    vectors: Float[np.ndarray, "texts width"]


@dataclass(frozen=True)
class Vectors:
    """All pieces of a folder; a key may be in two of them, with the same vector."""

    pieces: tuple[Piece, ...]

    @classmethod
    def open(cls, folder: Path) -> Vectors:
        """The pieces that are there and whole."""
        found = [_piece(path) for path in sorted(folder.glob("*.keys.npy"))]
        return cls(tuple(piece for piece in found if piece is not None))

    def __len__(self) -> int:
        return sum(len(piece.keys) for piece in self.pieces)

    def keys(self) -> set[str]:
        """The key of every text that has a vector."""
        return {key.decode() for piece in self.pieces for key in piece.keys.tolist()}

    def nearest(self, vector: Float[np.ndarray, " width"], count: int) -> list[tuple[str, float]]:
        """The keys of the `count` texts with the largest cosine, and the cosine, the largest first."""
        best: dict[str, float] = {}
        for piece in self.pieces:
            cosine = piece.vectors @ vector.astype(np.float32)
            top = np.argpartition(-cosine, min(count, len(cosine) - 1))[:count]
            best |= {bytes(piece.keys[i]).decode(): float(cosine[i]) for i in top.tolist()}
        return sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:count]


def write(folder: Path, keys: Sequence[str], vectors: Float[np.ndarray, "texts width"]) -> str:
    """Adds a piece and returns its name. Raises `Mistake` when it cannot be written."""
    name = digest(list(keys))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _put(folder / f"{name}.npy", np.asarray(vectors, dtype=np.float32))
        _put(folder / f"{name}.keys.npy", np.array([key.encode() for key in keys], dtype="S32"))
    except OSError as error:
        raise Mistake(f"Sentence vectors cannot be written to {str(folder)!r}: {error.strerror or error}.") from error
    return name


def merge(folder: Path) -> None:
    """One piece of all, when there are many; each text once."""
    names = sorted(path.name.removesuffix(".keys.npy") for path in folder.glob("*.keys.npy"))
    if len(names) <= MANY:
        return
    pieces = Vectors.open(folder).pieces
    keys = np.concatenate([piece.keys for piece in pieces])
    once = np.unique(keys, return_index=True)[1]
    merged = write(folder, [key.decode() for key in keys[once]], np.concatenate([p.vectors for p in pieces])[once])
    for name in set(names) - {merged}:
        (folder / f"{name}.keys.npy").unlink(missing_ok=True)
        (folder / f"{name}.npy").unlink(missing_ok=True)


def _put(path: Path, values: np.ndarray) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with aside.open("wb") as file:
        np.save(file, values)
    os.replace(aside, path)


def _piece(path: Path) -> Piece | None:
    """The piece with keys at `path`; None when it is damaged, or of another width: it is then made again."""
    try:
        keys = np.load(path, mmap_mode="r")
        vectors = np.load(path.with_name(path.name.replace(".keys.npy", ".npy")), mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    whole = keys.dtype == np.dtype("S32") and vectors.shape == (len(keys), WIDTH) and len(keys) > 0
    return Piece(keys, vectors) if whole else None
