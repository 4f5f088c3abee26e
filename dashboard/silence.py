"""Text in which a feature is silent: what tells whether an explanation says more than the topic.

1. `by lot`: places drawn uniformly from a sample of the harvest's documents (`Documents.pool`).
2. `near miss, same token`: places in the same sample that hold a token which the feature follows (its lift).
3. `near miss, neighbour`: places where a latent that often fires with it fires most, and it does not.

Around each place the feature is silent for `SHORT` tokens both ways; where more text is asked for, what fires further away
is shown in its colour. A place stands where a peak would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboard.documents import Piece
from dashboard.evidence import EACH, SCAN, SHORT, Around, Asked, Example, Group, Place, active, fold, longer, seed_of
from dashboard.widgets.tokens import named
from data.store import Workspace
from data.words import Feature

TOKENS = 6
NEIGHBOURS = 3
TRIED = 4000
"""Places that are looked at, of those drawn by lot."""


def gather(workspace: Workspace, feature: Feature, asked: Asked) -> list[Group]:
    """All groups of a feature, active ones first; empty when it never fires. Raises what `UNREADABLE` names."""
    around = Around(workspace, feature, asked.harvest)
    found = active(around, asked)
    return [*found, *silent(around, asked)] if found else []


def silent(around: Around, asked: Asked) -> list[Group]:
    """The three groups; one of them may be empty, and says of what."""
    pieces = around.documents.pool()
    sizes = np.array([piece.size for piece in pieces], dtype=np.int64)
    draw = np.random.default_rng(seed_of(around.feature) + 1)
    lot = draw.integers(0, max(int(sizes.sum()), 1), TRIED if sizes.sum() else 0)
    near = _holding(pieces, asked.tokens[:TOKENS])
    near = near[draw.permutation(len(near))[:TRIED]]
    said = (
        f"silent at {' '.join(named(token) for token in asked.tokens[:TOKENS])}" if asked.tokens else "it follows none"
    )
    within = f"in a sample of {sizes.sum():,} tokens"
    chosen = {("silent, by lot", within): np.unique(lot), ("near miss, same token", f"{said} · {within}"): near}
    groups = [_group(around, asked, name, _places(pieces, sizes, some, draw)) for name, some in chosen.items()]
    return [*groups, _neighbours(around, asked)]


def _holding(pieces: Sequence[Piece], tokens: tuple[str, ...]) -> np.ndarray:
    """Where one of `tokens` stands among the tokens of all `pieces`."""
    wanted = pc.SetLookupOptions(pa.array(tokens, pa.string()))
    found, begin = [np.zeros(0, np.int64)], 0
    for piece in pieces:
        hits = pc.call_function("is_in", [pa.array(piece.vocabulary, pa.string())], wanted)
        found.append(begin + np.flatnonzero(hits.to_numpy(zero_copy_only=False)[piece.codes]))
        begin += piece.size
    return np.concatenate(found)


def _places(pieces: Sequence[Piece], sizes: np.ndarray, some: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Document and position of `some` of the tokens of all `pieces`, in an order drawn by lot."""
    found, begin = [np.zeros((0, 2), np.int64)], 0
    for piece, size in zip(pieces, sizes.tolist(), strict=True):
        own = np.sort(some[(some >= begin) & (some < begin + size)]) - begin
        row = piece.begin.searchsorted(own, "right") - 1
        found.append(np.stack([piece.document[row].astype(np.int64), own - piece.begin[row]], axis=1))
        begin += size
    places = np.concatenate(found)
    return places[draw.permutation(len(places))]


def _group(around: Around, asked: Asked, named: tuple[str, str], places: np.ndarray) -> Group:
    """The first of `places` around which the feature is silent, each of another document while there are some."""
    quiet = places[_clear(around, places)]
    first = np.sort(np.unique(quiet[:, 0], return_index=True)[1])
    rest = np.setdiff1d(np.arange(len(quiet)), first)
    some = quiet[np.concatenate([first, rest])[: EACH * SCAN * asked.times].astype(int)].tolist()
    return _made(around, asked, named, (around.show(Place(*place), SHORT) for place in some))


def _made(around: Around, asked: Asked, named: tuple[str, str], examples: Iterable[Example]) -> Group:
    shown = fold(examples, EACH * asked.times)
    return Group(*named, len(shown), tuple(longer(around, e, asked.context) for e in shown))


def _clear(around: Around, places: np.ndarray) -> np.ndarray:
    """At which of `places` no activation is within `SHORT` tokens."""
    return around.silent(places[:, 0], np.maximum(places[:, 1] - SHORT, 0), 2 * SHORT)


def _neighbours(around: Around, asked: Asked) -> Group:
    """Places where a neighbour fires most among those where this one is silent, the neighbours taking turns."""
    near = (asked.neighbours or ())[:NEIGHBOURS]
    each = [list(_of_neighbour(around, latent, asked)) for latent in near]
    turns = [own[rank] for rank in range(max(map(len, each), default=0)) for own in each if rank < len(own)]
    none = "this harvest did not count which fire together" if asked.neighbours is None else "no latent fires with it"
    what = f"silent where {', '.join(map(str, near))} fire most" if near else none
    return _made(around, asked, ("near miss, neighbour", what), turns)


def _of_neighbour(around: Around, latent: int, asked: Asked) -> Iterator[Example]:
    firings = around.firings_of(latent)
    order = np.argsort(-firings.value, kind="stable")
    places = np.stack([firings.document[order], firings.position[order]], axis=1)
    quiet = np.flatnonzero(_clear(around, places))[: EACH * asked.times]
    for at in quiet.tolist():
        yield around.show(Place(*places[at].tolist()), SHORT, f"{latent}: {float(firings.value[order[at]]):.2f}")
