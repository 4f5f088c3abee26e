"""What explaining and scoring ask of the store; each answer is a short read, finished before it is returned."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import runs
from data.errors import Mistake
from data.store import Workspace
from data.words import Feature, digest

BLOCK = 4096
"""Latents whose neighbours are read at a time."""


@dataclass(frozen=True)
class Explanation:
    """A row of `explanations` that has a text."""

    explanation: str
    feature: Feature
    text: str


def circuit_features(workspace: Workspace, circuit: str = "") -> list[Feature]:
    """The latents of `circuit` (an id or the beginning of one; empty: the newest), most important first, each once."""
    query = (
        "select circuit from circuits join runs using (run) where starts_with(circuit, ?) order by started desc limit 1"
    )
    with workspace.read() as db:
        newest = db.execute(query, [circuit]).fetchall()
        found = db.execute(
            "select dictionary, latent from nodes where circuit = ? and kind = 'latent' "
            "group by dictionary, latent order by min(rank), dictionary, latent",
            list(newest[0]) if newest else [""],
        ).fetchall()
    if not newest:
        named = f"no circuit {circuit!r}" if circuit else "no circuit"
        raise Mistake(
            f"This workspace has {named}. Trace one with `lacewing circuit agreement`, "
            f"or name features with --features DICTIONARY/LATENT,..."
        )
    return [Feature(dictionary, latent) for dictionary, latent in found]


def sampled_features(workspace: Workspace, dictionary: str, seed: int) -> list[Feature]:
    """The latents that fire in a harvest, of `dictionary` (the beginning of its id; empty: of all), in an order drawn by
    `seed`. Raises `Mistake` when there are none.
    """
    query = "select dictionary, latent from features where density > 0 and starts_with(dictionary, ?)"
    with workspace.read() as db:
        found = [Feature(d, latent) for d, latent in db.execute(query, [dictionary]).fetchall()]
    if not found:
        of = f"no dictionary {dictionary!r} with" if dictionary else "no"
        raise Mistake(f"This workspace has {of} features that fire in a harvest. Run `lacewing harvest` first.")
    return sorted(found, key=lambda f: digest("sample", seed, f.dictionary, f.latent))


def densities_of(workspace: Workspace, dictionary: str) -> np.ndarray:
    """The density of each latent of `dictionary` [latents]; 0 where it is not harvested."""
    with workspace.read() as db:
        rows = db.execute("select latent, density from features where dictionary = ?", [dictionary]).fetchall()
    densities = np.zeros(max((latent for latent, _ in rows), default=-1) + 1)
    densities[[latent for latent, _ in rows]] = [density for _, density in rows]
    return densities


def states_of(workspace: Workspace, ids: Sequence[str]) -> dict[str, int]:
    """How many of these explanations ended in each state."""
    query = (
        "select coalesce(state, 'unknown'), count(*) from explanations where list_contains(?, explanation) group by 1"
    )
    with workspace.read() as db:
        return dict(sorted(db.execute(query, [list(ids)]).fetchall()))


def statistics_of(workspace: Workspace, features: Sequence[Feature]) -> dict[Feature, dict[str, Any]]:
    """The harvested statistics of each feature; raises `Mistake` for one that is unknown or not harvested."""
    names = sorted({f.dictionary for f in features})
    with workspace.read() as db:
        known = dict(db.execute("select dictionary, latents from dictionaries").fetchall())
        rows = db.execute(
            "select dictionary, latent, statistics from features where list_contains(?, dictionary)", [names]
        ).fetchall()
    statistics = {Feature(dictionary, latent): text for dictionary, latent, text in rows}
    for feature in features:
        if feature not in statistics:
            raise _missing(feature, known)
    return {feature: json.loads(statistics[feature]) for feature in features}


def neighbours_of(workspace: Workspace, dictionary: str, latent: int, harvest: str) -> list[int]:
    """The latents that fire most often together with `latent`, or else those nearest by decoder, the nearest first.

    Raises `Mistake` when the harvest did not look for them.
    """
    found = _neighbours(workspace.folder, dictionary, latent // BLOCK, harvest).get(latent)
    if found is None:
        raise Mistake(
            f"The harvest of dictionary {dictionary!r} tells no neighbours of latent {latent}. "
            f"Run `lacewing harvest` again, or choose other negatives."
        )
    return found


@functools.lru_cache(maxsize=64)
def _neighbours(folder: Path, dictionary: str, block: int, _harvest: str) -> dict[int, list[int]]:
    """The neighbours of `BLOCK` latents in one read; those of which neither kind is known are absent."""
    query = (
        "select latent, statistics->'neighbours', statistics->'nearest' from features "
        "where dictionary = ? and latent >= ? and latent < ?"
    )
    with Workspace(folder).read() as db:
        rows = db.execute(query, [dictionary, block * BLOCK, (block + 1) * BLOCK]).fetchall()
    lists = {latent: [json.loads(text) for text in found if text] for latent, *found in rows}
    return {latent: [int(n) for n, _ in next(filter(None, some), [])] for latent, some in lists.items() if some}


def _missing(feature: Feature, known: dict[str, int]) -> Mistake:
    if feature.dictionary not in known:
        listing = ", ".join(sorted(known)) or "none"
        return Mistake(f"There is no dictionary {feature.dictionary!r} in this workspace. Known: {listing}.")
    if feature.latent >= known[feature.dictionary]:
        last = known[feature.dictionary] - 1
        return Mistake(f"There is no feature {feature}: that dictionary has latents 0 to {last}.")
    return Mistake(f"Dictionary {feature.dictionary!r} has not been harvested. Run `lacewing harvest` first.")


def explained_already(workspace: Workspace, ids: Sequence[str]) -> dict[str, str | None]:
    """The text (None: it failed) of those of `ids` that are in the store."""
    query = "select explanation, text from explanations where list_contains(?, explanation)"
    with workspace.read() as db:
        return dict(db.execute(query, [list(ids)]).fetchall())


def forget_failed(workspace: Workspace, ids: Sequence[str]) -> None:
    """Removes those of `ids` that failed, so that they are tried again."""
    with workspace.write() as db:
        db.execute("delete from explanations where text is null and list_contains(?, explanation)", [list(ids)])


def stopped_already(workspace: Workspace, ids: Sequence[str]) -> set[str]:
    """Those of `ids` that a spent budget left without an answer."""
    query = "select explanation from explanations where starts_with(error, ?) and list_contains(?, explanation)"
    with workspace.read() as db:
        return {key for (key,) in db.execute(query, ["stopped_by_budget", list(ids)]).fetchall()}


def forget_stopped(workspace: Workspace, ids: Sequence[str]) -> None:
    """Removes those of `ids` that a spent budget left without an answer: a later run goes on with them."""
    stopped = list(stopped_already(workspace, ids))
    with workspace.write() as db:
        db.execute("delete from explanations where list_contains(?, explanation)", [stopped])


def explanations_of(workspace: Workspace, run: str) -> list[Explanation]:
    """The explanations with a text of explain run `run` (empty: the newest that is done); raises `Mistake`."""
    found = runs.find(workspace, run or _newest(workspace))
    if found["verb"] != "explain" or found["status"] != "done":
        raise Mistake(
            f"Run {found['run']} is not an explain run that is done (it is {found['verb']}, {found['status']}). "
            f"`lacewing runs` lists them."
        )
    ids = found["summary"]["explanations"]
    query = "select explanation, dictionary, latent, text from explanations where list_contains(?, explanation)"
    with workspace.read() as db:
        rows = db.execute(query, [ids]).fetchall()
    texts = {key: Explanation(key, Feature(d, latent), text) for key, d, latent, text in rows if text is not None}
    return [texts[key] for key in ids if key in texts]


def _newest(workspace: Workspace) -> str:
    if not (found := runs.newest(workspace, "explain")):
        raise Mistake("This workspace has no explanations to score. Run `lacewing explain` first.")
    return found


def scored_already(workspace: Workspace, run: str) -> set[tuple[str, str]]:
    """Explanation and scorer of each row that score run `run` has written."""
    with workspace.read() as db:
        return set(db.execute("select explanation, scorer from scores where run = ?", [run]).fetchall())
