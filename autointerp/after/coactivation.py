"""Whether two latents fire at the same tokens of a common harvest: Jaccard index and correlation.

1. Jaccard index: the tokens at which both fire over those at which either does. Correlation: Pearson's, of the two
   activations over all tokens of the harvest, silence counting as 0.
2. Both are ratios of sums over tokens; the sums are kept by group of documents, so that documents can be drawn with
   replacement (`bootstrap.py`) without looking at activations again.

Latents are read one pair at a time from the sorted parts: memory does not grow with dictionaries or harvests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from autointerp.bootstrap import weights
from autointerp.examples import Firings, Reader
from data.errors import Mistake
from data.store import Workspace

GROUPS = 512
"""Groups that documents are dealt to: whole documents are drawn, several at a time where there are more."""


def common_harvest(workspace: Workspace, one: str, other: str) -> str:
    """The newest harvest of both dictionaries. Raises `Mistake` when there is none."""
    query = (
        "select a.harvest from harvests a join harvests b using (harvest) join runs r on r.run = a.run "
        "where a.dictionary = ? and b.dictionary = ? order by r.finished desc limit 1"
    )
    with workspace.read() as db:
        found = db.execute(query, [one, other]).fetchall()
    if not found:
        raise Mistake(
            f"Dictionaries {one} and {other} have no harvest in common, so nobody knows where both fire. "
            f"Run `lacewing harvest --dictionaries {one},{other}`."
        )
    return found[0][0]


@dataclass(frozen=True)
class Together:
    """How pairs of latents fire together: Jaccard index and correlation of each, for each draw of documents."""

    jaccard: Float[np.ndarray, "pairs draws"]
    correlation: Float[np.ndarray, "pairs draws"]
    groups: int
    """Of documents, from which was drawn."""


@dataclass(frozen=True)
class Sums:
    """Sums over the tokens of each group of documents, for one pair."""

    fires: Float[np.ndarray, "two groups"]
    both: Float[np.ndarray, " groups"]
    total: Float[np.ndarray, "two groups"]
    squares: Float[np.ndarray, "two groups"]
    product: Float[np.ndarray, " groups"]


def together(
    one: Reader, other: Reader, pairs: Sequence[tuple[int, int]], seed: int, advance: Callable[[], None] = lambda: None
) -> Together:
    """Jaccard index and correlation of each pair (a latent of `one`, a latent of `other`); NaN where one never fires."""
    group = {number: row % GROUPS for row, number in enumerate(one.length)}
    groups = min(GROUPS, len(group))
    tokens = np.bincount([group[n] for n in one.length], list(one.length.values()), groups)
    drawn = weights(np.arange(groups), seed)
    jaccard, correlation = np.zeros((2, len(pairs), len(drawn)))
    for place, (left, right) in enumerate(pairs):
        sums = _sums(one.firings(left), other.firings(right), group, groups)
        jaccard[place] = _ratio(drawn @ sums.both, drawn @ (sums.fires.sum(0) - sums.both))
        correlation[place] = _pearson(sums, tokens, drawn)
        advance()
    return Together(jaccard, correlation, groups)


def _sums(left: Firings, right: Firings, group: dict[int, int], groups: int) -> Sums:
    keys = [f.document.astype(np.int64) << 32 | f.position for f in (left, right)]
    values = [f.value.astype(np.float64) for f in (left, right)]
    of = [np.array([group[n] for n in f.document.tolist()], dtype=np.int64) for f in (left, right)]
    _, here, there = np.intersect1d(*keys, assume_unique=True, return_indices=True)
    shared = of[0][here]
    return Sums(
        np.stack([_by_group(g, np.ones(len(g)), groups) for g in of]),
        _by_group(shared, np.ones(len(shared)), groups),
        np.stack([_by_group(g, v, groups) for g, v in zip(of, values, strict=True)]),
        np.stack([_by_group(g, v**2, groups) for g, v in zip(of, values, strict=True)]),
        _by_group(shared, values[0][here] * values[1][there], groups),
    )


def _by_group(group: np.ndarray, value: np.ndarray, groups: int) -> Float[np.ndarray, " groups"]:
    return np.bincount(group, value, groups).astype(float)  # of nothing at all numpy makes integers


def _pearson(sums: Sums, tokens: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    count = drawn @ tokens
    mean = sums.total @ drawn.T / count
    variance = sums.squares @ drawn.T / count - mean**2
    covariance = drawn @ sums.product / count - mean[0] * mean[1]
    return _ratio(covariance, np.sqrt(np.maximum(variance[0] * variance[1], 0)))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
