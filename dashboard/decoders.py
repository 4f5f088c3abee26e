"""Decoder directions, read from the dictionaries' files without torch.

1. A latent's direction is its row of `W_dec`; only that row is read.
2. `compare` compares it with every row of other dictionaries of the same width, a block at a time. What is more than
   `LARGEST` bytes in all is left to `lacewing similar`, which compares all latents of two dictionaries once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from data.errors import Mistake
from data.store import Workspace
from data.words import Feature

LARGEST = 64_000_000
BLOCK = 4096
WEIGHTS = "W_dec"
SIZES = {"F32": 4, "F64": 8, "F16": 2}
"""Bytes of a number of each type that can be read here."""


@dataclass(frozen=True)
class Near:
    """A latent of some dictionary, and the cosine of its direction with the one that was asked about."""

    feature: Feature
    cosine: float


@dataclass(frozen=True)
class Compared:
    """The latents of one dictionary that are nearest to a direction, the nearest first; or why there are none."""

    dictionary: str
    nearest: tuple[Near, ...] = ()
    problem: str = ""


def compare(workspace: Workspace, wanted: Feature, others: Sequence[str], top: int = 1) -> list[Compared]:
    """What is nearest to a feature in each of `others`, at most `LARGEST` bytes of them in all; its own latent left out.

    Raises `Mistake` when the feature's own direction cannot be read.
    """
    with _weights(workspace, wanted.dictionary) as own:
        direction = own[wanted.latent : wanted.latent + 1].astype(np.float32)[0]
    found, left = [], LARGEST
    for other in others:
        try:
            with _weights(workspace, other) as rows:
                size = int(np.prod(rows.get_shape())) * SIZES[rows.get_dtype()]
                left -= size
                found.append(
                    _compare(rows, direction, wanted, other, top) if left >= 0 else _large(wanted, other, size)
                )
        except Mistake as mistake:
            found.append(Compared(other, problem=str(mistake)))
    return found


def _compare(rows: Any, direction: np.ndarray, wanted: Feature, other: str, top: int) -> Compared:
    latents, width = rows.get_shape()
    if width != len(direction):
        return Compared(other, problem=f"its directions have {width} coordinates, this one's {len(direction)}")
    blocks = [_cosines(rows[at : min(at + BLOCK, latents)], direction) for at in range(0, latents, BLOCK)]
    cosines = np.concatenate([np.zeros(0, np.float32), *blocks])
    if other == wanted.dictionary:
        cosines[wanted.latent] = -np.inf
    best = np.argsort(-cosines, kind="stable")[:top]
    return Compared(
        other, tuple(Near(Feature(other, int(n)), float(cosines[n])) for n in best if np.isfinite(cosines[n]))
    )


def _large(wanted: Feature, other: str, size: int) -> Compared:
    said = f"{size / 1e6:,.0f} MB of directions are too many to compare while you wait"
    return Compared(other, problem=f"{said}: lacewing similar {wanted.dictionary} {other}")


def _cosines(rows: np.ndarray, direction: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32, copy=False)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows)) * np.linalg.norm(direction)
    return rows @ direction / np.maximum(norms, 1e-12)


@contextmanager
def _weights(workspace: Workspace, dictionary: str) -> Iterator[Any]:
    """The decoder of `dictionary` as something to slice. Raises `Mistake` when it cannot be read."""
    path = workspace.folder / "dictionaries" / dictionary / "sae_weights.safetensors"
    try:
        with safe_open(path, framework="numpy") as file:
            rows = file.get_slice(WEIGHTS)
            if rows.get_dtype() not in SIZES:
                raise Mistake(
                    f"its directions are stored as {rows.get_dtype()}, which is read by `lacewing similar` only"
                )
            yield rows
    except (OSError, SafetensorError) as error:
        raise Mistake(f"its files cannot be read here ({str(error).splitlines()[0]})") from error
