"""A workspace of any size, a million features by default, in the form that lacewing's own commands write.

1. Text once: documents of `LENGTH` pseudo-words, frequent and rare ones as in a language (Zipf).
2. For each dictionary: sparse activations, in the parts that `lacewing harvest` leaves; each feature prefers one token.
   Densities span five orders of magnitude; some features are dead, some dense. Statistics are counted from the parts.
3. Explanations with texts of their own for a share of the features, some of them failed; scores of several scorers, most
   with a control; labels by three people.
4. One large circuit and several small ones (`big_circuits.py`).

Everything follows from the seed. `PYTHONPATH=.:tests python -m big FOLDER --features 1000000` writes the workspace that
`bench/dashboard.py` measures; tests make small ones.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import big_circuits
import numpy as np
import pyarrow as pa

from autointerp.shards import Activations, Files
from data.store import Workspace, append
from data.words import Site, digest

HARVEST = "b16harvest01"
MODEL = "b16m0de1b16m0de1"
NAME = "someone/large-model"
LENGTH = 128
VOCABULARY = 8192
BINS = 20
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
EXPLAINERS = ("llm", "token_lift", "rule")
SCORERS = ("embedding", "detection", "fuzzing")
AUTHORS = ("anna", "ben", "chidi")
DEAD, DENSE = 0.06, 0.0006
"""Shares of all features."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    features: int = 1_000_000
    latents: int = 16_384
    """Of one dictionary; there are as many as the features fill, at least one."""
    rows: int = 20_000_000
    """Activations, about: those that would fall on one token twice are dropped."""
    tokens: int = 131_072
    explanations: int = 300_000
    labels: int = 3_000
    nodes: int = 20_000
    """Of the large circuit."""
    edges: int = 80_000
    circuits: int = 8
    """Small ones, of 80 nodes."""
    seed: int = 0

    @property
    def dictionaries(self) -> int:
        return max(1, round(self.features / self.latents))

    @property
    def documents(self) -> int:
        return max(2, self.tokens // LENGTH)


@dataclass(frozen=True)
class Text:
    """The documents' tokens, one after another."""

    spelled: list[str]
    """The vocabulary."""
    ids: np.ndarray
    order: np.ndarray
    """Places sorted by the token there."""
    first: np.ndarray
    """Where each token's places begin in `order`."""
    counts: np.ndarray


def make(folder: Path, sizes: Sizes) -> Workspace:
    """Writes the workspace."""
    workspace = Workspace.open(folder, create=True)
    names = dictionaries(sizes)
    text = _text(workspace, sizes)
    with workspace.write() as db:
        append(db, "runs", _runs())
        append(db, "dictionaries", [_dictionary(name, site, sizes) for site, name in names.items()])
        append(db, "harvests", [_harvest(name, sizes) for name in names.values()])
    peaks = [_harvested(workspace, sizes, text, name, number) for number, name in enumerate(names.values())]
    _explained(workspace, sizes, list(names.values()), np.concatenate(peaks), text)
    big_circuits.write(workspace, names, sizes, MODEL)
    return workspace


def dictionaries(sizes: Sizes) -> dict[str, str]:
    """The digest of each dictionary, by its site: residual streams and feed-forward layers in turn."""
    sites = [Site(n // 2, "resid_post" if n % 2 == 0 else "mlp_out") for n in range(sizes.dictionaries)]
    return {str(site): digest("big", str(site), sizes.seed) for site in sorted(sites)}


def words(rng: np.random.Generator, count: int) -> list[str]:
    """`count` different pseudo-words."""
    sounds = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]
    found: dict[str, None] = {}
    while len(found) < count:
        for parts in rng.integers(0, len(sounds), (count, 4)).tolist():
            found["".join(sounds[n] for n in parts[: 2 + parts[0] % 3])] = None
    return list(found)[:count]


def _text(workspace: Workspace, sizes: Sizes) -> Text:
    rng = np.random.default_rng([sizes.seed, 1])
    spelled = [" " + word for word in words(rng, VOCABULARY)]
    ids = np.minimum(rng.zipf(1.25, sizes.documents * LENGTH) - 1, VOCABULARY - 1).astype(np.int32)
    offsets = pa.array(np.arange(sizes.documents + 1, dtype=np.int32) * LENGTH)
    table = pa.table(
        {
            "document": pa.array(range(sizes.documents), pa.int32()),
            "half": ["explain" if number % 2 == 0 else "score" for number in range(sizes.documents)],
            "ids": pa.ListArray.from_arrays(offsets, pa.array(ids)),
            "text": pa.ListArray.from_arrays(offsets, pa.array(spelled).take(pa.array(ids))),
        }
    )
    files = Files(workspace, HARVEST)
    files.write(files.tokens(0), table)
    counts = np.bincount(ids, minlength=VOCABULARY)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return Text(spelled, ids, np.argsort(ids, kind="stable"), first, counts)


def _runs() -> list[dict[str, Any]]:
    begun = datetime.datetime(2026, 11, 20, 9, 0)
    verbs = ("train", "harvest", "circuit", "explain", "score")
    return [
        {
            "run": f"bigrun00000{number}", "verb": verb, "config": {"seed": 0, "model": NAME},
            "recipe": digest("big", verb), "seed": 0, "version": "0.1.0", "packages": {}, "status": "done",
            "started": begun + datetime.timedelta(hours=number), "finished": begun + datetime.timedelta(hours=number + 1),
            "pid": os.getpid(), "host": socket.gethostname(), "summary": {"seconds": 3600.0, "peak_memory": 4_000_000_000},
        }
        for number, verb in enumerate(verbs)
    ]  # fmt: skip


def _dictionary(name: str, site: str, sizes: Sizes) -> dict[str, Any]:
    metrics = {"l0": 32.0, "explained_variance": 0.85, "ce_recovered": 0.94, "dead": DEAD}
    return {
        "dictionary": name, "name": f"{site} batchtopk", "model": MODEL, "site": site, "layer": Site.parse(site).layer,
        "architecture": "batchtopk", "latents": sizes.latents, "run": "bigrun000000", "metrics": metrics,
    }  # fmt: skip


def _harvest(name: str, sizes: Sizes) -> dict[str, Any]:
    return {
        "harvest": HARVEST, "dictionary": name, "model": MODEL, "documents": sizes.documents,
        "tokens": sizes.documents * LENGTH, "run": "bigrun000001",
    }  # fmt: skip


# Activations ---------------------------------------------------------------------------------------------------------


def _harvested(workspace: Workspace, sizes: Sizes, text: Text, name: str, number: int) -> np.ndarray:
    """Writes one dictionary's parts and features; returns the token that each latent prefers, -1 for dead ones."""
    rng = np.random.default_rng([sizes.seed, 2, number])
    preferred = rng.choice(len(text.counts), sizes.latents, p=text.counts / text.counts.sum())
    found = _activations(rng, _firings(rng, sizes), preferred, text)
    files = Files(workspace, HARVEST)
    files.write(files.part(name, 0), found.table(token=False))
    bounds = np.searchsorted(found.latent, np.arange(sizes.latents + 1))
    with workspace.write() as db:
        db.register("incoming", _features(rng, name, found, bounds, text))
        db.execute("insert into features by name select * from incoming")
        db.unregister("incoming")
    return np.where(np.diff(bounds) > 0, preferred, -1)


def _firings(rng: np.random.Generator, sizes: Sizes) -> np.ndarray:
    """How often each latent should fire."""
    many = rng.lognormal(0, 1.6, sizes.latents)
    many[rng.random(sizes.latents) < DEAD] = 0
    dense = rng.random(sizes.latents) < DENSE
    dense[0] = True
    many[dense] = 0
    often = np.where(dense, rng.uniform(0.13, 0.4, sizes.latents) * sizes.documents * LENGTH, 0)
    left = max(sizes.rows / sizes.dictionaries - often.sum(), sizes.latents)
    return np.ceil(many / many.sum() * left + often).astype(np.int64)


def _activations(rng: np.random.Generator, firings: np.ndarray, preferred: np.ndarray, text: Text) -> Activations:
    """Half of a latent's activations at the token it prefers, the rest anywhere; sorted, each place once."""
    latent = np.repeat(np.arange(len(firings)), firings)
    token = preferred[latent]
    liked = text.order[text.first[token] + (rng.random(len(latent)) * text.counts[token]).astype(np.int64)]
    anywhere = rng.integers(0, len(text.ids), len(latent))
    key = np.unique(latent * len(text.ids) + np.where(rng.random(len(latent)) < 0.5, liked, anywhere))
    latent, place = np.divmod(key, len(text.ids))
    scale = rng.lognormal(0.5, 0.7, len(firings))[latent]
    right = text.ids[place] == preferred[latent]
    value = scale * (0.2 + rng.gamma(2.0, 0.5, len(place))) * np.where(right, 2.0, 1.0)
    document, position = np.divmod(place, LENGTH)
    latent, document, position = (column.astype(np.int32) for column in (latent, document, position))
    return Activations(latent, document, position, value.astype(np.float32), text.ids[place])


def _features(rng: np.random.Generator, name: str, found: Activations, bounds: np.ndarray, text: Text) -> pa.Table:
    """The rows of `features` of one dictionary."""
    many = len(bounds) - 1
    firings = np.diff(bounds)
    value = found.value[np.lexsort((found.value, found.latent))]
    top = np.where(firings, value[np.maximum(bounds[1:] - 1, 0)], 0.0)
    return pa.table(
        {
            "dictionary": [name] * many,
            "latent": pa.array(range(many), pa.int32()),
            "density": firings / len(text.ids),
            "max_activation": top.astype(np.float64),
            "statistics": _statistics(rng, found, value, bounds, text),
        }
    )


def _statistics(
    rng: np.random.Generator, found: Activations, value: np.ndarray, bounds: np.ndarray, text: Text
) -> list[str]:
    """The JSON of each latent; `value` ascends within it."""
    many = len(bounds) - 1
    documents = np.bincount(np.unique(found.latent.astype(np.int64) << 32 | found.document) >> 32, minlength=many)
    histograms, lifts = _histograms(value, bounds), _lifts(found, text, many)
    logits = np.sort(rng.normal(0, 6, (many, 20)).round(3), axis=1)
    named = rng.integers(0, len(text.spelled), (many, 20))
    alike = rng.integers(0, many, (many, 10)).tolist()
    rows = []
    for latent in range(many):
        own = value[bounds[latent] : bounds[latent + 1]]
        pairs = [[text.spelled[t], v] for t, v in zip(named[latent].tolist(), logits[latent].tolist(), strict=True)]
        places = [round(float(own[int(q * (len(own) - 1))]), 4) for q in QUANTILES] if len(own) else []
        record = {
            "firings": len(own), "documents": int(documents[latent]),
            "quantiles": dict(zip(map(str, QUANTILES), places, strict=False)), "histogram": histograms[latent],
            "lift": lifts[latent], "top_logits": pairs[:-11:-1], "bottom_logits": pairs[:10], "harvest": HARVEST,
            "neighbours": [[n, 2 + n % 7] for n in alike[latent][:5]],
            "nearest": [[n, round(0.9 - 0.1 * k, 2)] for k, n in enumerate(alike[latent][5:])],
        }  # fmt: skip
        rows.append(json.dumps(record))
    return rows


def _histograms(value: np.ndarray, bounds: np.ndarray) -> list[dict[str, list[Any]]]:
    firings = np.diff(bounds)
    latent = np.repeat(np.arange(len(firings)), firings)
    padded = np.append(value, 0.0)
    low, high = padded[bounds[:-1]], padded[np.maximum(bounds[1:] - 1, 0)] + 1e-6
    place = np.minimum((BINS * (value - low[latent]) / (high - low)[latent]).astype(np.int64), BINS - 1)
    counts = np.bincount(latent * BINS + place, minlength=BINS * len(firings)).reshape(-1, BINS).tolist()
    edges = (low[:, None] + (high - low)[:, None] * np.linspace(0, 1, BINS + 1)).round(5).tolist()
    pairs = zip(edges, counts, firings.tolist(), strict=True)
    return [{"edges": e, "counts": c} if many else {"edges": [], "counts": []} for e, c, many in pairs]


def _lifts(found: Activations, text: Text, latents: int) -> list[list[list[Any]]]:
    """The tokens that each latent fires on most beyond chance, at most six."""
    keys, counts = np.unique(found.latent.astype(np.int64) * VOCABULARY + found.token, return_counts=True)
    latent, token = np.divmod(keys, VOCABULARY)
    firings = np.bincount(found.latent, minlength=latents)
    ratio = counts / firings[latent] / (text.counts[token] / len(text.ids))
    order = np.lexsort((-counts * np.log(ratio), latent))
    lists: list[list[list[Any]]] = [[] for _ in range(latents)]
    for i in order.tolist():
        own = lists[latent[i]]
        if len(own) < 6 and ratio[i] > 1:
            own.append([text.spelled[token[i]], round(float(ratio[i]), 2), int(counts[i])])
    return lists


# Explanations, scores, labels ----------------------------------------------------------------------------------------


def _explained(workspace: Workspace, sizes: Sizes, names: Sequence[str], preferred: np.ndarray, text: Text) -> None:
    """A quarter of the explained features have a second explanation, by another explainer."""
    rng = np.random.default_rng([sizes.seed, 3])
    alive = np.flatnonzero(preferred >= 0)
    once = rng.permutation(alive)[: round(sizes.explanations * 0.8)]
    feature = np.concatenate([once, once[: sizes.explanations - len(once)]])
    explanations = _explanations(rng, feature, preferred, sizes, names=names, text=text)
    scores = _scores(rng, explanations)
    labels = _labels(rng, once[:: max(1, len(once) // sizes.labels)], sizes, names)
    with workspace.write() as db:
        for table, rows in (("explanations", explanations), ("scores", scores), ("labels", labels)):
            db.register("incoming", rows)
            db.execute(f"insert into {table} by name select * from incoming")
            db.unregister("incoming")


def _explanations(
    rng: np.random.Generator,
    feature: np.ndarray,
    preferred: np.ndarray,
    sizes: Sizes,
    *,
    names: Sequence[str],
    text: Text,
) -> pa.Table:
    many = len(feature)
    lexicon = np.array([*(s.strip() for s in text.spelled), *words(rng, 12_000)])
    drawn = rng.integers(0, len(lexicon), (many, 18))
    size = rng.integers(5, 18, many)
    told = [
        f'tokens such as "{text.spelled[liked].strip()}" near {" ".join(lexicon[own[:n]].tolist())}'
        for liked, own, n in zip(preferred[feature].tolist(), drawn, size.tolist(), strict=True)
    ]
    failed = rng.random(many) < 0.04
    number, latent = np.divmod(feature, sizes.latents)
    which = np.where(np.arange(many) < len(np.unique(feature)), rng.integers(0, 2, many), 2)
    return pa.table(
        {
            "explanation": [digest("big", n, sizes.seed) for n in range(many)],
            "dictionary": pa.array(names).take(pa.array(number)),
            "latent": pa.array(latent, pa.int32()),
            "explainer": pa.array(EXPLAINERS).take(pa.array(which)),
            "text": pa.array(told, mask=failed),
            "error": pa.array(["the answer could not be parsed"] * many, mask=~failed),
            "run": ["bigrun000003"] * many,
        }
    )


def _scores(rng: np.random.Generator, explanations: pa.Table) -> pa.Table:
    """Two of three explanations with a text are scored, by the first scorer alone or by two or three; a tenth of the
    scores has no control."""
    told = np.flatnonzero(explanations["text"].is_valid().to_numpy())
    told = told[rng.random(len(told)) < 0.66]
    by = 1 + (rng.random(len(told)) < 0.5) + (rng.random(len(told)) < 0.2)
    which, scorer = np.repeat(told, by), np.concatenate([np.arange(n) for n in by.tolist()])
    many = len(which)
    control = rng.normal(0.52, 0.05, many)
    worth = rng.normal(0.16, 0.14, len(explanations))[which]
    difference = worth + rng.normal(0, 0.09, many)
    bare, failed = rng.random(many) < 0.1, rng.random(many) < 0.02
    value, half = np.clip(control + difference, 0, 1), rng.uniform(0.05, 0.12, many)
    columns = {"value": value, "control": control, "difference": value - control}
    found: dict[str, Any] = {
        "explanation": explanations["explanation"].take(pa.array(which)),
        "scorer": pa.array(SCORERS).take(pa.array(scorer)),
        "trials": pa.array(np.where(failed, 0, 40), pa.int32()),
        "error": pa.array(["too few windows"] * many, mask=~failed),
        "statistic": ["auroc"] * many,
        "run": ["bigrun000004"] * many,
        "details": [_windows(n) if n % 10 == 0 else None for n in range(many)],
    }
    for name, column in columns.items():
        hidden = failed if name == "value" else failed | bare
        ends = ("lower", "upper") if name == "value" else (f"{name}_lower", f"{name}_upper")
        moved = zip((name, *ends), (0, -half, half), strict=True)
        found |= {label: pa.array(column + by, mask=hidden) for label, by in moved}
    return pa.table(found)


def _windows(seed: int) -> str:
    place = {"document": 1 + 2 * (seed // 10 % 20), "length": 32}
    judged = [place | {"start": 32 * w, "truth": w % 2 == 0, "judgement": 0.9 - 0.2 * w} for w in range(4)]
    return json.dumps({"windows": judged})


def _labels(rng: np.random.Generator, feature: np.ndarray, sizes: Sizes, names: Sequence[str]) -> pa.Table:
    number, latent = np.divmod(feature, sizes.latents)
    many = len(feature)
    seen = datetime.datetime(2026, 11, 21)
    return pa.table(
        {
            "dictionary": pa.array(names).take(pa.array(number)),
            "latent": pa.array(latent, pa.int32()),
            "text": [f"label no. {n}" for n in range(many)],
            "author": pa.array(AUTHORS).take(pa.array(rng.integers(0, len(AUTHORS), many))),
            "written": [seen + datetime.timedelta(minutes=n) for n in range(many)],
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m big", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    for field in fields(Sizes):
        parser.add_argument(f"--{field.name}", type=int, default=field.default)
    given = vars(parser.parse_args())
    make(given.pop("folder"), Sizes(**given))


if __name__ == "__main__":
    main()
