"""What Search finds, apart from how it is drawn.

1. Hits are rows of `of_search` (what is recorded and said of a feature) with a `why`: a text that matched, a cosine, how
   strongly the feature fires.
2. `fired` makes of the engine's entries one `Fired` for each feature: where in the prompt it is active, and which share of
   its record that is. Dense features and those never harvested are told apart.
3. `alike` are the likes of a feature: those that fire with it, those that write the same, those of which the like is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dashboard import source, vectors
from dashboard.evidence import UNREADABLE, Around, Example, Place, fold
from data import queries
from data.queries import of_search
from data.store import Workspace
from data.words import Feature

Row = Mapping[str, Any]
DENSE = queries.DENSE
CONTEXT = 20
"""Tokens of a hit's example."""
MOST = 60
"""Hits by meaning, and likes, that are shown."""


@dataclass(frozen=True)
class Hit:
    """A feature that was found: its row, and why."""

    row: Row
    why: str = ""
    value: float = 0.0

    @property
    def feature(self) -> Feature:
        return Feature(self.row["dictionary"], self.row["latent"])


def strongest(workspace: Workspace, feature: Feature, harvest: str | None) -> Example | None:
    """The feature's strongest example; None when it never fired, or the harvest cannot be read."""
    return next(iter(strongest_few(workspace, feature, harvest, CONTEXT, 1)), None)


def strongest_few(
    workspace: Workspace, feature: Feature, harvest: str | None, context: int, count: int
) -> list[Example]:
    """At most `count` of its strongest examples of different text; none when the harvest cannot be read."""
    try:
        around = Around(workspace, feature, harvest)
        fired = around.firings
        order = np.argsort(-fired.value, kind="stable")[: 16 * count].tolist()
        places = [Place(int(fired.document[i]), int(fired.position[i])) for i in order]
        return fold(_apart(around, places, context), count)
    except (*UNREADABLE, KeyError):
        return []


def _apart(around: Around, places: Sequence[Place], context: int) -> Iterator[Example]:
    """The text around each place that is not in the text of another one."""
    taken: list[Place] = []
    for place in places:
        if not any(one.document == place.document and abs(one.position - place.position) < context for one in taken):
            taken.append(place)
            yield around.show(place, context)


# By meaning ----------------------------------------------------------------------------------------------------------


def near(workspace: Workspace, vector: Sequence[float], dictionaries: Sequence[str] = ()) -> list[Hit]:
    """Features by the cosine between a vector and what is said of them, each once, the most alike first."""
    folder = vectors.folder_of(workspace.folder)
    found = dict(vectors.Vectors.open(folder).nearest(np.asarray(vector, np.float32), 8 * MOST))
    rows = source.ask(of_search.by_keys, tuple(found), tuple(dictionaries))
    hits: dict[Feature, Hit] = {}
    for row in sorted(rows, key=lambda row: -found[row["key"]]):
        hit = Hit(row, f"cosine {found[row['key']]:.2f}", found[row["key"]])
        hits.setdefault(hit.feature, hit)
    return list(hits.values())[:MOST]


# By prompt -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fired:
    """A feature on a prompt: its activation at the tokens where it is active."""

    feature: Feature
    site: str
    values: Mapping[int, float]
    density: float | None
    """None when no harvest knows the feature."""
    record: float

    @property
    def dense(self) -> bool:
        return self.density is not None and self.density > DENSE

    def at(self, tokens: Sequence[int]) -> float:
        """The greatest activation at `tokens`, or anywhere when there are none."""
        return max((self.values.get(token, 0.0) for token in tokens or self.values), default=0.0)

    def total(self, tokens: Sequence[int]) -> float:
        """The sum over `tokens`, or over all."""
        return sum(self.values.get(token, 0.0) for token in tokens or self.values)

    def share(self, value: float) -> float:
        """`value` as a share of the record; 0 where there is none."""
        return value / self.record if self.record else 0.0


ORDERS = ("share of record", "activation", "sum over tokens", "tokens")
"""How features of a prompt can be ordered."""


def fired(answer: Mapping[str, Any]) -> list[Fired]:
    """The features that the engine found active."""
    return [one for found in answer["dictionaries"] for one in _of(found)]


def _of(found: Mapping[str, Any]) -> list[Fired]:
    places: dict[int, dict[int, float]] = {}
    for token, latent, value in zip(found["token"], found["latent"], found["value"], strict=True):
        places.setdefault(latent, {})[token] = value
    known = source.ask(of_search.measures, found["dictionary"], tuple(sorted(places)))
    return [
        Fired(Feature(found["dictionary"], latent), found["site"], values, *known.get(latent, (None, 0.0)))
        for latent, values in places.items()
    ]


def ordered(found: Sequence[Fired], order: str, tokens: Sequence[int], *, dense: bool) -> list[Fired]:
    """Those active at `tokens` (anywhere when there are none), the first first; dense ones only if asked for."""

    def key(one: Fired) -> tuple[float, float]:
        strongest = one.at(tokens)
        first = {
            "share of record": one.share(strongest), "activation": strongest, "sum over tokens": one.total(tokens),
            "tokens": float(sum(token in one.values for token in tokens or one.values)),
        }[order]  # fmt: skip
        return -first, -strongest

    active = [one for one in found if (dense or not one.dense) and one.at(tokens) > 0]
    return sorted(active, key=key)


# By example ----------------------------------------------------------------------------------------------------------

LIKES = {"together": "neighbours", "decoder": "nearest"}
"""Kinds of likeness, and the statistic of the harvest that lists them."""


def alike(feature: Feature, statistics: Mapping[str, Any], kind: str) -> list[Hit]:
    """The features of its dictionary that fire with `feature` (Jaccard), or whose decoder rows are nearest (cosine)."""
    pairs = {int(latent): float(value) for latent, value in statistics.get(LIKES[kind]) or []}
    rows = source.ask(of_search.described, tuple((feature.dictionary, latent) for latent in pairs))
    word = "Jaccard" if kind == "together" else "cosine"
    hits = [Hit(row, f"{word} {pairs[latent]:.2f}", pairs[latent]) for (_, latent), row in rows.items()]
    return sorted(hits, key=lambda hit: -hit.value)
