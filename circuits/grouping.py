"""Vectors of contexts into clusters, and how well each cluster holds together.

1. The likeness of two contexts is angular: 1 - arccos(cosine) / pi (arXiv 2403.19647, section 5).
2. Spectral clustering on it while the matrix is small enough; k-means on unit vectors beyond.
3. A cluster's cohesion is the mean likeness of its pairs; its interval resamples members, and its control is the same for
   as many contexts drawn from all: shuffled clusters of the same size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from data.intervals import expanded_tail
from data.words import Estimate

DENSE = 8192
"""Contexts up to which all pairs are compared: half a GB."""
DRAWS = 200


@dataclass(frozen=True)
class Cohesion:
    """The mean angular likeness within a cluster, and that of shuffled clusters of its size with its central 95 %."""

    value: Estimate
    control: Estimate


def unit(vectors: csr_matrix) -> csr_matrix:
    """Rows of length 1; a row of zeros stays one."""
    from sklearn.preprocessing import normalize

    return csr_matrix(normalize(vectors))


def rows_of(matrix: csr_matrix) -> int:
    """How many rows it has."""
    return len(matrix.indptr) - 1


def likeness(unit_rows: csr_matrix) -> np.ndarray:
    """Angular likeness of all pairs of rows, 0 to 1."""
    cosine = np.asarray((unit_rows @ unit_rows.T).todense())
    return 1 - np.arccos(np.clip(cosine, -1, 1)) / np.pi


def cluster(unit_rows: csr_matrix, clusters: int, seed: int) -> np.ndarray:
    """A cluster's number for every row."""
    from sklearn.cluster import MiniBatchKMeans, SpectralClustering

    if rows_of(unit_rows) <= DENSE:
        spectral = SpectralClustering(
            clusters, affinity="precomputed", assign_labels="cluster_qr", random_state=seed, eigen_solver="lobpcg"
        )
        return spectral.fit_predict(likeness(unit_rows))
    return MiniBatchKMeans(clusters, random_state=seed).fit_predict(unit_rows)


def cohesion(unit_rows: csr_matrix, members: np.ndarray, seed: int) -> Cohesion:
    """How alike `members` are, beside as many rows drawn from all."""
    rng = np.random.default_rng(seed)
    own = likeness(unit_rows[members])
    resampled = [_mean(own, rng.integers(len(members), size=len(members))) for _ in range(DRAWS)]
    others = [rng.choice(rows_of(unit_rows), size=len(members), replace=False) for _ in range(DRAWS)]
    shuffled = [_mean(likeness(unit_rows[rows]), np.arange(len(rows))) for rows in others]
    tail = expanded_tail(len(members))
    return Cohesion(
        Estimate(_mean(own, np.arange(len(members))), *map(float, np.quantile(resampled, [tail, 1 - tail]))),
        Estimate(float(np.mean(shuffled)), *map(float, np.quantile(shuffled, [0.025, 0.975]))),
    )


def _mean(matrix: np.ndarray, rows: np.ndarray) -> float:
    """The mean over pairs of different members; a member drawn twice is no pair with itself."""
    pairs = rows[:, None] != rows[None, :]
    return float(matrix[np.ix_(rows, rows)][pairs].mean()) if pairs.any() else 1.0
