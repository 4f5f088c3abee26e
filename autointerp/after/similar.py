"""How like two dictionaries of one model are.

1. By direction: latents that are each other's nearest by decoder cosine, any width, and where it can be had the one-to-one
   matching with the largest sum (`cosines.py`). The null is the second decoder with the numbers of each row permuted: the
   nearest of many is never far, whatever they are.
2. By where they fire: Jaccard index and correlation of matched latents on the tokens of a common harvest
   (`coactivation.py`), against the same latents matched at random.
3. By what is said of them: the cosine of the vectors of matched latents' labels, against the same labels matched at random
   (sentence vectors of anything are alike to a degree).

Given (1) and (2), (3) measures the explainer: matched latents with different labels are its noise. Intervals are over
matched pairs, for (2) over documents. Dictionaries of two models cannot be compared: their directions have no common axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.console import Console

from autointerp.after import coactivation, cosines
from autointerp.after.coactivation import common_harvest
from autointerp.after.cosines import Matches
from autointerp.after.findings import Finding, means, store, text_of
from autointerp.after.labels import labels_of
from autointerp.after.similar_config import SimilarConfig
from autointerp.bootstrap import weights
from autointerp.examples import Reader
from autointerp.tools import Tools
from autointerp.watch import watch
from data import runs
from data.errors import Mistake
from data.runs import Run
from data.store import Workspace, append
from data.words import digest
from training.dictionary import Dictionary, load_dictionary

ALIKE = 0.99
"""The quantile of the null's cosines above which a pair is called matched."""


@dataclass(frozen=True)
class Similar:
    """What a comparison found."""

    run: str
    findings: tuple[Finding, ...]
    mutual: Matches
    exact: Matches | None


def shown(workspace: Workspace, config: SimilarConfig) -> str:
    """`lacewing similar`: the findings as text, the run's id in the first line."""
    return text_of(workspace, similar(workspace, config))


def similar(workspace: Workspace, config: SimilarConfig, console: Console | None = None) -> str:
    """Compares, or finds an equal comparison that is done; the run's id.

    Raises `Mistake` for a dictionary that is unknown, of another model or width, or without a common harvest.
    """
    one, other = (load_dictionary(workspace, name) for name in (config.one, config.other))
    _comparable(one, other)
    harvest = common_harvest(workspace, one.digest, other.digest)
    labels = {name: labels_of(workspace, name) for name in (one.digest, other.digest)}
    said = digest([sorted((n, e.explanation) for n, e in found.items()) for found in labels.values()])
    inputs = {"harvest": harvest, "labels": said}
    if done := runs.finished(workspace, "similar", config, inputs):
        return done
    with runs.start(workspace, "similar", config, seed=config.seed, inputs=inputs) as run:
        found = _compare(run, config, one, other, harvest, console)
        run.summary |= {"mutual": len(found.mutual), "exact": len(found.exact) if found.exact else None}
        store(run, found.findings)
    return run.run


def _comparable(one: Dictionary, other: Dictionary) -> None:
    if one.model != other.model:
        raise Mistake(
            f"Dictionaries {one.digest} and {other.digest} are of different models; their directions have no axes in "
            f"common, so no cosine between them means anything. Compare dictionaries of one model."
        )
    if one.W_dec.shape[1] != other.W_dec.shape[1]:
        raise Mistake(
            f"Dictionary {one.digest} writes {one.W_dec.shape[1]} coordinates and {other.digest} {other.W_dec.shape[1]}; "
            f"compare dictionaries of sites of the same width."
        )


def _compare(
    run: Run, config: SimilarConfig, one: Dictionary, other: Dictionary, harvest: str, console: Console | None
) -> Similar:
    rows = [cosines.unit(d.W_dec.float().numpy()) for d in (one, other)]
    null = cosines.unit(cosines.permuted(rows[1], config.seed))
    mutual, exact = cosines.mutual(*rows), cosines.exact(*rows)
    about, seed = f"{one.digest} {other.digest}", config.seed
    found = _by_direction(about, rows, null, mutual, exact, seed)
    some = np.sort(np.random.default_rng(seed).permutation(len(mutual))[: config.pairs])
    drawn = Matches(mutual.left[some], mutual.right[some], mutual.cosine[some])
    readers = [Reader(run.workspace, d.digest, harvest) for d in (one, other)]
    with watch(run, "pairs", 2 * len(drawn), console=console) as advance:
        fired = _by_firing(about, readers, drawn, seed, advance)
    with Tools(run.workspace, seed) as tools:
        said = _by_label(about, tools, (one.digest, other.digest), drawn, seed)
    _store_matches(run, (one.digest, other.digest), mutual, exact, (some, fired.columns | said.columns))
    return Similar(run.run, (*found, *fired.findings, *said.findings), mutual, exact)


def _by_direction(
    about: str, rows: Sequence[np.ndarray], null: np.ndarray, mutual: Matches, exact: Matches | None, seed: int
) -> list[Finding]:
    chance = cosines.mutual(rows[0], null)
    found = [_against(about, "cosine of mutual nearest neighbours", mutual.cosine, chance.cosine, seed)]
    bar = float(np.quantile(chance.cosine, ALIKE)) if len(chance) else 1.0
    share = np.zeros((2, len(rows[0])))
    for row, one in zip(share, (mutual, chance), strict=True):
        row[one.left[one.cosine > bar]] = 1
    found.append(
        Finding.of(
            about, "share of latents with a match", means(share, weights(np.arange(share.shape[1]), seed)), len(rows[0]),
            against="permuted decoder", details={"cosine_above": bar, "mutual": len(mutual)},
        )
    )  # fmt: skip
    if exact is None:
        error = f"more than {cosines.WIDEST} latents; mutual nearest neighbours stand in for it"
        return [*found, Finding.none(about, "cosine of the best matching", error)]
    matched = cosines.exact(rows[0], null)
    assert matched is not None
    return [*found, _against(about, "cosine of the best matching", exact.cosine, matched.cosine, seed)]


def _against(about: str, measure: str, value: np.ndarray, control: np.ndarray, seed: int) -> Finding:
    """A mean and that of a null with other pairs, of which there may be more or fewer."""
    if not len(value):
        return Finding.none(about, measure, "no pair was matched")
    draws = [
        means(one[None].astype(float), weights(np.arange(len(one)), seed))[0] for one in (value, control) if len(one)
    ]
    return Finding.of(about, measure, np.stack(draws), len(value), against="permuted decoder")


@dataclass(frozen=True)
class Compared:
    """Findings about matched pairs, and a column of the table `matches` for each measure."""

    findings: list[Finding]
    columns: dict[str, Float[np.ndarray, " pairs"]]


def _by_firing(about: str, readers: Sequence[Reader], pairs: Matches, seed: int, advance: Any) -> Compared:
    mixed = _mixed(len(pairs), seed)
    one, other = readers
    both = [
        coactivation.together(one, other, list(zip(pairs.left.tolist(), right.tolist(), strict=True)), seed, advance)
        for right in (pairs.right, pairs.right[mixed])
    ]
    names = {"jaccard": "Jaccard index of matched latents' tokens", "correlation": "correlation of matched latents"}
    found = [_over_documents(about, names[name], [getattr(b, name) for b in both], both[0].groups) for name in names]
    return Compared(found, {name: getattr(both[0], name)[:, 0] for name in names})


def _over_documents(
    about: str, measure: str, values: Sequence[Float[np.ndarray, "pairs draws"]], groups: int
) -> Finding:
    """The mean over pairs in each draw of groups of documents; pairs of which one never fires are left out, and counted."""
    silent = np.isnan(values[0][:, :1])[:, 0]
    if silent.all():
        return Finding.none(about, measure, "no matched latent fires in the harvest")
    draws = np.stack([np.ma.masked_invalid(one).mean(0).filled(np.nan) for one in values])
    return Finding.of(
        about, measure, draws, int((~silent).sum()), drawn_from=groups, against="random pairs of the same latents",
        details={"silent": int(silent.sum())},
    )  # fmt: skip


def _by_label(about: str, tools: Tools, names: tuple[str, str], pairs: Matches, seed: int) -> Compared:
    measure = "cosine of matched latents' labels"
    sides = zip(names, (pairs.left, pairs.right), strict=True)
    labels = [labels_of(tools.workspace, name, rows.tolist()) for name, rows in sides]
    places = [p for p in range(len(pairs)) if pairs.left[p] in labels[0] and pairs.right[p] in labels[1]]
    column = np.full(len(pairs), np.nan)
    if len(places) < 2:
        error = (
            f"{len(places)} matched pairs have explanations on both sides; explain the features of both dictionaries"
        )
        return Compared([Finding.none(about, measure, error)], {"explanation": column})
    texts = [
        [labels[0][int(pairs.left[p])].text for p in places],
        [labels[1][int(pairs.right[p])].text for p in places],
    ]
    vectors = tools.embedder([*texts[0], *texts[1]]).reshape(2, len(places), -1)
    rows = np.stack([(vectors[0] * v).sum(1) for v in (vectors[1], vectors[1][_mixed(len(places), seed)])]).astype(
        float
    )
    column[places] = rows[0]
    drawn = weights(np.arange(len(places)), seed)
    equal = sum(a == b for a, b in zip(*texts, strict=True))
    return Compared(
        [Finding.of(about, measure, means(rows, drawn), len(places), against="random pairs of the same labels",
                    details={"equal": equal, "unexplained": len(pairs) - len(places)})],
        {"explanation": column},
    )  # fmt: skip


def _mixed(count: int, seed: int) -> np.ndarray:
    """Another partner for everyone: an order in which nobody keeps their place."""
    order = np.random.default_rng([seed, count]).permutation(count)
    mixed = np.zeros(count, dtype=np.int64)
    mixed[order] = np.roll(order, 1)
    return mixed


def _store_matches(
    run: Run,
    names: tuple[str, str],
    mutual: Matches,
    exact: Matches | None,
    measured: tuple[np.ndarray, dict[str, np.ndarray]],
) -> None:
    places, columns = measured
    spread = {name: np.full(len(mutual), np.nan) for name in ("jaccard", "correlation", "explanation")}
    for name, column in columns.items():
        spread[name][places] = column
    rows = _rows(run.run, names, "mutual", mutual, spread) + (
        _rows(run.run, names, "exact", exact, {}) if exact else []
    )
    with run.workspace.write() as db:
        db.execute("delete from matches where run = ?", [run.run])
        append(db, "matches", rows)


def _rows(
    run: str, names: tuple[str, str], kind: str, found: Matches, columns: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    empty = np.full(len(found), np.nan)
    rest = {name: columns.get(name, empty) for name in ("jaccard", "correlation", "explanation")}
    return [
        {"run": run, "dictionary": names[0], "latent": int(found.left[at]), "other": names[1],
         "other_latent": int(found.right[at]), "kind": kind, "cosine": float(found.cosine[at])}
        | {name: None if np.isnan(column[at]) else float(column[at]) for name, column in rest.items()}
        for at in range(len(found))
    ]  # fmt: skip
