"""How good dictionaries are: on held-out documents, the same tokens for all, beside codes that learned no features.

1. `hold_out` (training/heldout.py) reads the text once; `describe` (measures.py) compares reconstructions token by
   token; `effects` (splicing.py) says what the model loses when they stand in for its own values.
2. `during` gives these figures while training: one row for each dictionary, for metrics/RUN/heldout-*.parquet.
3. `judge` gives them at the end, each with a 95 % bootstrap interval over documents, and beside them those of PCA with
   as many components as the dictionary's L0 and of a random dictionary (baselines.py).
4. A latent is dead when it fired on none of the held-out tokens; at the end, on none of the calibration tokens either.
   There is no interval for that: a resample holds fewer different documents, so more latents are silent in each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from data.runs import Run
from data.words import Estimate
from training import measures
from training.baselines import Baselines
from training.heldout import HeldOut
from training.measures import Description, Ratio
from training.splicing import Reconstruction

COLUMNS = pa.schema(
    {
        "step": pa.int64(), "tokens": pa.int64(), "place": pa.int32(), "site": pa.string(),
        "explained_variance": pa.float64(), "cosine": pa.float64(), "l0": pa.float64(), "l2_ratio": pa.float64(),
        "dead": pa.float64(), "dense": pa.float64(), "ce_recovered": pa.float64(), "ce_recovered_zero": pa.float64(),
        "kl": pa.float64(), "density_never": pa.int32(), "density_counts": pa.list_(pa.int32()),
        "heldout_tokens": pa.int32(), "time": pa.float64(),
    }
)  # fmt: skip
"""The columns of metrics/RUN/heldout-*.parquet; `data.queries.heldout_curve` says what each means."""


def during(heldout: HeldOut, dictionaries: Sequence[Reconstruction]) -> list[dict[str, Any]]:
    """The figures of each dictionary as they are now: `COLUMNS`, but for `step`, `tokens` and `time`."""
    effects = heldout.effects(dictionaries)
    return [
        {"place": place, "site": ",".join(map(str, dictionary.writes)), "heldout_tokens": len(heldout.rows)}
        | _plain(
            measures.describe(heldout, dictionary), measures.recovered(heldout, heldout.ablated(dictionary), effect)
        )
        for place, (dictionary, effect) in enumerate(zip(dictionaries, effects, strict=True))
    ]


def _plain(found: Description, shares: dict[str, Ratio]) -> dict[str, Any]:
    values = {name: _finite(ratio.value) for name, ratio in (found.ratios | shares).items()}
    return values | {"dead": found.firing.silent, "dense": found.firing.dense} | found.firing.histogram()


def write(run: Run, rows: Sequence[Mapping[str, Any]], *, step: int) -> Path:
    """Keeps what `during` found at `step` as a part of the run's held-out curve, columns of the caller's own too."""
    own = pa.Table.from_pylist([{k: v for k, v in row.items() if k not in COLUMNS.names} for row in rows]).schema
    schema = pa.unify_schemas([COLUMNS, own])
    table = pa.Table.from_pylist([{**row, "step": step} for row in rows], schema=schema)
    return run.workspace.write_part(f"metrics/{run.run}/heldout-{step:08d}.parquet", table)


def judge(heldout: HeldOut, dictionary: Reconstruction, baselines: Baselines) -> dict[str, Any]:
    """The final figures of `dictionary` and its baselines, flat: `NAME`, `NAME_lower`, `NAME_upper`.

    A baseline's begin with its name, as in `pca_explained_variance`. When several sites are written, the figures are of
    all together and `sites` has each one's own.
    """
    found = measures.describe(heldout, dictionary)
    k = round(found.ratios["l0"].value)
    same = (dictionary.reads, dictionary.writes, found.firing.counts.shape[1], k)
    others = {} if same in baselines.judged else baselines.beside(dictionary, latents=same[2], k=k)
    effect, *beside = heldout.effects([dictionary, *others.values()])
    ablated = heldout.ablated(dictionary)
    flat = _figures(found.ratios | measures.recovered(heldout, ablated, effect)) | _firing(found, dictionary, baselines)
    known = baselines.judged.setdefault(same, {})  # dictionaries of a sweep often have the same baselines
    for (name, other), spliced in zip(others.items(), beside, strict=True):
        ratios = measures.describe(heldout, other).ratios | measures.recovered(heldout, ablated, spliced)
        known |= {f"{name}_components": k} | _figures(ratios, f"{name}_")
    flat |= known
    if len(dictionary.writes) > 1:
        shares = {s: measures.recovered(heldout, ablated, {s: effect[s]}) for s in dictionary.writes}
        flat["sites"] = {str(s): _figures({"explained_variance": found.sites[s]} | shares[s]) for s in shares}
    return flat | _extent(heldout)


def _figures(ratios: Mapping[str, Ratio], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, ratio in ratios.items():
        flat |= _interval(prefix + name, ratio.estimate())
    return flat


def _interval(name: str, estimate: Estimate) -> dict[str, Any]:
    values = {name: estimate.value, f"{name}_lower": estimate.lower, f"{name}_upper": estimate.upper}
    return {key: _finite(value) for key, value in values.items()}


def _finite(value: float) -> float | None:
    """None for a ratio to nothing (an ablation that costs nothing): JSON has no NaN."""
    return value if math.isfinite(value) else None


def _firing(found: Description, dictionary: Reconstruction, baselines: Baselines) -> dict[str, Any]:
    calibration = baselines.at(dictionary.reads)
    silent = torch.from_numpy(found.firing.density == 0) & ~measures.fired(dictionary, calibration)
    tokens = int(found.firing.tokens.sum()) + len(calibration)
    return (
        {"dead": silent.double().mean().item(), "dead_tokens": tokens}
        | _interval("dense", found.firing.dense_estimate()) | found.firing.histogram()
    )  # fmt: skip


def _extent(heldout: HeldOut) -> dict[str, Any]:
    return {
        "heldout_tokens": len(heldout.rows), "heldout_documents": heldout.documents,
        "spliced_tokens": heldout.spliced_tokens,
    }  # fmt: skip
