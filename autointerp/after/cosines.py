"""Which rows of one matrix are like which of another, by cosine, without holding all cosines at once.

1. `nearest`: for each row, the nearest of the other matrix. `mutual`: pairs each of which is the other's nearest.
   Products are blocks of `BLOCK` rows, so memory grows with the rows, not with their product.
2. `exact`: the one-to-one matching with the largest sum (Kuhn 1955; scipy's `linear_sum_assignment`), up to `CELLS`
   cosines. Of wider dictionaries the `KEPT` nearest of each row are kept, with a partner of cosine 0 for those who stay
   alone, and the sparse problem is solved (`min_weight_full_bipartite_matching`): the largest sum among these.
3. `permuted`: the null. Each row's numbers in another order: their distribution stays, their direction does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

BLOCK = 2048
CELLS = 4096**2
"""Cosines up to which all are matched: 128 MB, half a minute."""
KEPT = 32
WIDEST = 65_536
"""Rows beyond which there is no matching: the sparse problem would take hours."""


@dataclass(frozen=True)
class Matches:
    """Rows of one matrix, rows of the other, and their cosines."""

    left: Int[np.ndarray, " pairs"]
    right: Int[np.ndarray, " pairs"]
    cosine: Float[np.ndarray, " pairs"]

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True)
class Nearest:
    """For each row, the nearest row of the other matrix and the cosine with it."""

    row: Int[np.ndarray, " rows"]
    cosine: Float[np.ndarray, " rows"]


def unit(rows: Float[np.ndarray, "rows width"]) -> Float[np.ndarray, "rows width"]:
    """Rows of norm 1; a row of zeros stays one."""
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def nearest(
    one: Float[np.ndarray, "one width"], other: Float[np.ndarray, "other width"], *, apart: bool = False
) -> Nearest:
    """The nearest of `other` for each of `one`, both of unit rows; with `apart` a row is not its own nearest."""
    best = Nearest(np.zeros(len(one), np.int64), np.full(len(one), -np.inf, np.float32))
    for rows, columns, cosines in _blocks(one, other):
        if apart:
            cosines[rows[:, None] == columns[None]] = -np.inf
        _better(best, rows, columns[cosines.argmax(1)], cosines.max(1))
    return best


def mutual(one: Float[np.ndarray, "one width"], other: Float[np.ndarray, "other width"]) -> Matches:
    """Pairs of unit rows each of which is the other's nearest."""
    ahead = Nearest(np.zeros(len(one), np.int64), np.full(len(one), -np.inf, np.float32))
    back = Nearest(np.zeros(len(other), np.int64), np.full(len(other), -np.inf, np.float32))
    for rows, columns, cosines in _blocks(one, other):
        _better(ahead, rows, columns[cosines.argmax(1)], cosines.max(1))
        _better(back, columns, rows[cosines.argmax(0)], cosines.max(0))
    left = np.flatnonzero(back.row[ahead.row] == np.arange(len(one)))
    return Matches(left, ahead.row[left], ahead.cosine[left].astype(np.float64))


def _blocks(one: np.ndarray, other: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Numbers of some rows of each, and their cosines."""
    for begin in range(0, len(one), BLOCK):
        rows = np.arange(begin, min(begin + BLOCK, len(one)))
        for start in range(0, len(other), BLOCK):
            columns = np.arange(start, min(start + BLOCK, len(other)))
            yield rows, columns, one[rows] @ other[columns].T


def _better(best: Nearest, rows: np.ndarray, which: np.ndarray, cosine: np.ndarray) -> None:
    better = cosine > best.cosine[rows]
    best.row[rows[better]], best.cosine[rows[better]] = which[better], cosine[better]


def exact(one: Float[np.ndarray, "one width"], other: Float[np.ndarray, "other width"]) -> Matches | None:
    """The one-to-one matching of unit rows with the largest sum of cosines; None beyond `WIDEST` rows."""
    if len(one) * len(other) <= CELLS:
        cosines = one @ other.T
        left, right = linear_sum_assignment(cosines, maximize=True)
        return Matches(left, right, cosines[left, right].astype(np.float64))
    return _sparse(one, other) if max(len(one), len(other)) <= WIDEST else None


def _sparse(one: np.ndarray, other: np.ndarray) -> Matches:
    rows, columns, cosines = _kept(one, other)
    alone = np.arange(len(one))
    weights = np.concatenate([2 - cosines, np.full(len(one), 2.0)])  # scipy takes no zeros, and least weights
    places = (np.concatenate([rows, alone]), np.concatenate([columns, len(other) + alone]))
    graph = csr_matrix((weights, places), shape=(len(one), len(other) + len(one)))
    left, right = min_weight_full_bipartite_matching(graph)
    matched = right < len(other)
    left, right = left[matched].astype(np.int64), right[matched].astype(np.int64)
    return Matches(left, right, np.einsum("rd,rd->r", one[left], other[right]).astype(np.float64))


def _kept(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `KEPT` nearest of `other` for each of `one`: rows, columns and cosines above 0."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    size = max(CELLS // len(other), 1)
    for begin in range(0, len(one), size):
        cosines = one[begin : begin + size] @ other.T
        kept = np.argpartition(-cosines, min(KEPT, cosines.shape[1] - 1), axis=1)[:, :KEPT]
        values = np.take_along_axis(cosines, kept, 1)
        rows = np.repeat(np.arange(len(cosines)) + begin, kept.shape[1])
        good = values.ravel() > 0
        found.append((rows[good], kept.ravel()[good], values.ravel()[good]))
    rows, columns, values = (np.concatenate(column) for column in zip(*found, strict=True))
    return rows, columns, values


def permuted(rows: Float[np.ndarray, "rows width"], seed: int) -> Float[np.ndarray, "rows width"]:
    """Each row's numbers in an order of its own."""
    return np.random.default_rng(seed).permuted(rows, axis=1)
