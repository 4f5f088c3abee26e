"""How often an executable rule is right, over all tokens of half a harvest.

1. The rule is run over every document of the `score` half, which it was not learnt from, and compared with where the
   feature fires: precision = hits / said, recall = hits / fired, F1 = 2 hits / (said + fired), at the feature's own rate.
2. The control is the same rule and another feature's firings: of the latents that fire about as often, one drawn by seed.
3. Intervals are bootstrap percentiles over documents (tokens of a document are not independent); the same resampled
   documents serve all numbers, so F1 - control is paired. Of more than `learning.GROUPS` documents, groups are drawn.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from autointerp.bootstrap import estimate, weights
from autointerp.examples import Reader
from autointerp.index import places_of
from autointerp.learning import Seen, learn, seen_of
from autointerp.rule import Rule
from data.words import Estimate, digest

NEAR = 20
"""Latents of the nearest densities, of which one is the control."""


@dataclass(frozen=True)
class Exactness:
    """What a rule is worth on a half: tokens at which the feature `fired` and the rule `said` so, and the measures."""

    fired: int
    said: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    control: Estimate | None
    difference: Estimate | None

    def columns(self) -> dict[str, Any]:
        """The columns of a row of `explanations`."""
        found: dict[str, Any] = {"rule_fired": self.fired, "rule_said": self.said}
        measures = {"precision": self.precision, "recall": self.recall, "rule_f1": self.f1}
        for name, number in {**measures, "rule_control": self.control, "rule_difference": self.difference}.items():
            found |= {name: _number(number, "value")}
            found |= {f"{name}_{end}": _number(number, end) for end in ("lower", "upper")}
        return found


def best_rule(reader: Reader, latent: int) -> Rule | None:
    """The best rule of a feature, learnt from its `explain` half with the usual settings; kept for the next caller."""
    return _best(reader, latent)


@functools.lru_cache(maxsize=1024)
def _best(reader: Reader, latent: int) -> Rule | None:
    found = learn(seen_of(reader, latent))
    return found[0].rule if found else None


def exactness(rule: Rule, reader: Reader, latent: int, *, other: int | None = None, seed: int = 0) -> Exactness:
    """What `rule` is worth as an explanation of `latent` on the `score` half, and of latent `other` as its control."""
    seen = seen_of(reader, latent, "score")
    places = places_of(rule, seen.half.index)
    said = places[seen.half.inside[places]]
    control = None if other is None else seen_of(reader, other, "score")
    return measured(said, seen, control, seed=seed)


def measured(said: Int[np.ndarray, " said"], seen: Seen, control: Seen | None, *, seed: int) -> Exactness:
    """The measures of a rule that fires at the places `said` of the half of `seen`."""
    groups = seen.half.groups
    drawn = _weights(groups, seed)
    precision, recall, f1 = _measures(drawn @ _counts(said, seen))
    against = None if control is None else _measures(drawn @ _counts(said, control))[2]
    return Exactness(
        len(seen.fired),
        len(said),
        estimate(precision, groups),
        estimate(recall, groups),
        estimate(f1, groups),
        None if against is None else estimate(against, groups),
        None if against is None else estimate(f1 - against, groups),
    )


def control_of(latent: int, densities: Float[np.ndarray, " latents"], seed: int) -> int | None:
    """Another latent that fires about as often as `latent`, drawn by `seed`; None when no other fires."""
    order = np.argsort(np.abs(densities - densities[latent]), kind="stable").tolist()
    near = [n for n in order if n != latent and densities[n] > 0][:NEAR]
    return min(near, key=lambda n: digest("rule", seed, latent, n), default=None)


def _counts(said: np.ndarray, seen: Seen) -> Float[np.ndarray, "groups 3"]:
    """Tokens at which the rule is right, at which it fires, and at which the feature fires, by group of documents."""
    half = seen.half
    kinds = (said[seen.mask[said]], said, seen.fired)
    counts = [np.bincount(half.group[half.index.document[places]], minlength=half.groups) for places in kinds]
    return np.stack(counts, 1).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _weights(groups: int, seed: int) -> Float[np.ndarray, "draws groups"]:
    return weights(np.arange(groups), seed).astype(np.float32)


def _measures(counts: Float[np.ndarray, "draws 3"]) -> Float[np.ndarray, "3 draws"]:
    """Precision, recall and F1; NaN where they are not defined."""
    hits, said, fired = counts.astype(float).T
    with np.errstate(invalid="ignore"):
        return np.stack([hits / said, hits / fired, 2 * hits / (said + fired)])


def _number(found: Estimate | None, name: str) -> float | None:
    value = np.nan if found is None else getattr(found, name)
    return None if np.isnan(value) else float(value)
