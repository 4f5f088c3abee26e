"""Writes planted features as a harvest, in files that no reader can tell from a real one's.

1. A feature fires where its rule does, except at a share `noise` of these tokens; and weakly at tokens where it does not,
   as many as that share of its windows: a topic fires in runs, and would else have more false windows than true ones.
2. Strength has `LEVELS` levels, by the token at which it fires, times a log-normal factor, so that the strata of strength
   differ in what they hold.
3. Tokens, sorted activations, and rows in `dictionaries`, `harvests` and `features` are written; there is no model and no
   decoder, so no logits are listed, and `nearest` are the features that a label could confuse it with. None is listed by
   co-activation, so that negatives from neighbours are windows of these.

Harvesting again replaces its own rows and duplicates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from autointerp.ground.corpus import Corpus
from autointerp.ground.planted import Planted
from autointerp.shards import Activations, Files
from autointerp.statistics import Vocabulary, lift
from data import runs
from data.store import Workspace, append
from data.words import digest

DICTIONARY = "planted"
LEVELS = 4
SPREAD = 0.2
"""Standard deviation of the log of a strength around its level."""
WEAK = 0.5
"""Level of false firings."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


@dataclass(frozen=True)
class Fired:
    """One feature's planted firings: at which tokens of the corpus, and how strongly."""

    at: np.ndarray
    value: np.ndarray


def fired(corpus: Corpus, feature: Planted, noise: float, seed: int) -> Fired:
    """Where and how strongly `feature` fires, noise included."""
    draw = np.random.default_rng([seed, feature.latent])
    right = corpus.fires(feature.rule)
    where, silent = np.flatnonzero(right), np.flatnonzero(~right)
    kept = where[draw.random(len(where)) >= noise]
    extra = draw.choice(silent, min(len(silent), round(noise * corpus.windows(right))), replace=False)
    at = np.concatenate([kept, extra])
    level = np.array([*(_level(feature, corpus.spelled[at]) for at in kept), *[WEAK] * len(extra)])
    value = level * np.exp(SPREAD * draw.standard_normal(len(at)))
    order = np.argsort(at, kind="stable")
    return Fired(at[order], value[order].astype(np.float32))


def _level(feature: Planted, token: str) -> float:
    return 1.0 + int(digest("level", feature.rule.record(), token, length=4), 16) % LEVELS


def harvest(workspace: Workspace, corpus: Corpus, features: Sequence[Planted], *, noise: float, seed: int) -> str:
    """Writes the harvest of `features` and returns its id."""
    content = [(p.number, p.half, digest(p.tokens)) for p in corpus.passages]
    name = digest("planted", content, [(f.kind, f.rule.record()) for f in features], noise, seed, length=12)
    found = [fired(corpus, feature, noise, seed) for feature in features]
    files = Files(workspace, name)
    ids = _write_tokens(files, corpus)
    files.write(files.part(DICTIONARY, 0), _activations(corpus, found).table(token=False))
    with runs.start(workspace, "harvest", {"planted": len(features), "noise": noise}, seed=seed) as run:
        _write_rows(run, name, corpus, _statistics(corpus, features, found, ids, name))
    return name


def _write_tokens(files: Files, corpus: Corpus) -> np.ndarray:
    """Writes the documents' tokens; returns the id of each token."""
    vocabulary = {token: at for at, token in enumerate(sorted({t for p in corpus.passages for t in p.tokens}))}
    ids = [[vocabulary[token] for token in p.tokens] for p in corpus.passages]
    table = {
        "document": pa.array([p.number for p in corpus.passages], pa.int32()),
        "half": pa.array([p.half for p in corpus.passages]),
        "ids": pa.array(ids, pa.list_(pa.int32())),
        "text": pa.array([list(p.tokens) for p in corpus.passages], pa.list_(pa.string())),
    }
    files.write(files.tokens(0), pa.table(table))
    return np.concatenate([np.array(row) for row in ids])


def _activations(corpus: Corpus, found: Sequence[Fired]) -> Activations:
    document, position = corpus.places
    numbers = np.array([p.number for p in corpus.passages])
    at = np.concatenate([f.at for f in found])
    latent = np.repeat(np.arange(len(found)), [len(f.at) for f in found])
    return Activations(
        latent=latent.astype(np.int32),
        document=numbers[document[at]].astype(np.int32),
        position=position[at].astype(np.int32),
        value=np.concatenate([f.value for f in found]),
        token=np.zeros(len(at), np.int32),
    )


def _statistics(
    corpus: Corpus, features: Sequence[Planted], found: Sequence[Fired], ids: np.ndarray, harvest: str
) -> list[dict[str, Any]]:
    """A row of `features` (without the dictionary) for each feature."""
    spelled = dict(zip(ids.tolist(), (t for p in corpus.passages for t in p.tokens), strict=True))
    vocabulary = Vocabulary(np.bincount(ids), spelled)
    document = corpus.places[0]
    rows: list[dict[str, Any]] = []
    for feature, own in zip(features, found, strict=True):
        statistics = {
            "firings": len(own.at),
            "documents": len(np.unique(document[own.at])),
            "quantiles": dict(
                zip(map(str, QUANTILES), np.quantile(own.value, QUANTILES).round(5).tolist(), strict=True)
            ),
            "histogram": {"edges": [], "counts": []},
            "lift": lift(ids[own.at], vocabulary),
            "top_logits": [],
            "bottom_logits": [],
            "neighbours": [],
            "nearest": _nearest(feature, features),
            "harvest": harvest,
        }
        density, largest = len(own.at) / corpus.tokens, float(own.value.max())
        rows.append({"latent": feature.latent, "density": density, "max_activation": largest, "statistics": statistics})
    return rows


def _nearest(feature: Planted, features: Sequence[Planted]) -> list[list[Any]]:
    """The features that it could be taken for, [latent, None]: the one that its broad label takes in, then its kind."""
    others = [other for other in features if other != feature]
    first = [other.latent for other in others if other.rule == feature.other]
    return [[latent, None] for latent in dict.fromkeys([*first, *(o.latent for o in others if o.kind == feature.kind)])]


def _write_rows(run: runs.Run, harvest: str, corpus: Corpus, rows: Sequence[dict[str, Any]]) -> None:
    dictionary = {
        "dictionary": DICTIONARY, "name": "planted", "model": "planted", "site": "resid_post:0", "layer": 0,
        "architecture": "planted", "latents": len(rows), "run": run.run, "metrics": {},
    }  # fmt: skip
    made = {"harvest": harvest, "dictionary": DICTIONARY, "model": "planted", "documents": len(corpus.passages)}
    with run.workspace.write() as db:
        for table in ("dictionaries", "harvests", "features"):
            db.execute(f"delete from {table} where dictionary = ?", [DICTIONARY])
        append(db, "dictionaries", [dictionary])
        append(db, "harvests", [made | {"tokens": corpus.tokens, "run": run.run}])
        append(db, "features", [{"dictionary": DICTIONARY} | row for row in rows])
