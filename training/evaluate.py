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

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as nn_functional

from data.models import Subject
from data.runs import Run
from data.texts import Blocks
from data.words import Estimate, Site
from training import measures
from training.baselines import Baselines
from training.heldout import PASS, HeldOut
from training.measures import CHUNK, Description, Ratio
from training.splicing import Effect, Reconstruction
from training.stream import ordinary, read, real

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
        | _plain(measures.describe(heldout, dictionary), measures.recovered(heldout, effect))
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
    others = baselines.beside(dictionary, latents=found.firing.counts.shape[1], k=k)
    effect, *beside = heldout.effects([dictionary, *others.values()])
    flat = _figures(found.ratios | measures.recovered(heldout, effect)) | _firing(found, dictionary, baselines)
    for (name, other), spliced in zip(others.items(), beside, strict=True):
        ratios = measures.describe(heldout, other).ratios | measures.recovered(heldout, spliced)
        flat |= {f"{name}_components": k} | _figures(ratios, f"{name}_")
    if len(dictionary.writes) > 1:
        flat["sites"] = {str(site): _of_site(heldout, found, effect, site) for site in dictionary.writes}
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


def _of_site(heldout: HeldOut, found: Description, effect: Mapping[Site, Effect], site: Site) -> dict[str, Any]:
    return _figures({"explained_variance": found.sites[site]} | measures.recovered(heldout, {site: effect[site]}))


def _extent(heldout: HeldOut) -> dict[str, Any]:
    documents = len(np.unique(heldout.document))
    return {
        "heldout_tokens": len(heldout.rows), "heldout_documents": documents, "spliced_tokens": heldout.spliced_tokens,
    }  # fmt: skip


# Below: what `training.finish` calls today; it goes when that calls `judge`.

DESCRIBED = 8_192
"""Held-out tokens on which reconstructions are compared."""
SPLICED = 2_048
"""Of these, tokens on which cross-entropy is measured: each costs a pass through the model, and
three more from each site on."""

Reconstruct = Callable[[Tensor], Tensor]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Held:
    """Held-out blocks with the activations of their ordinary tokens and those tokens' documents."""

    blocks: Blocks
    rows: Float[Tensor, "tokens site d_model"]
    document: np.ndarray
    """[tokens] the document of each row."""


@dataclass(frozen=True)
class Pca:
    """`mean` [d_model] and the first principal `directions` [d_model, components]."""

    mean: Tensor
    directions: Tensor

    def __call__(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """The reconstruction of `x`."""
        return self.mean + (x - self.mean) @ self.directions @ self.directions.T


def fit_pca(rows: Float[Tensor, "tokens d_model"], components: int) -> Pca:
    """The `components` directions of most variance of `rows`, from the eigenvectors of their covariance."""
    rows = rows.float()
    mean = rows.mean(dim=0)
    away = rows - mean
    _, vectors = torch.linalg.eigh(away.T @ away)
    return Pca(mean, vectors[:, vectors.shape[1] - components :])


def hold(subject: Subject, blocks: Blocks, sites: tuple[Site, ...], limit: Tensor, progress: Progress) -> Held:
    """Reads the activations of `blocks` (fp32 when the subject is), massive tokens left out."""
    rows, documents = [], []
    for start in range(0, len(blocks), PASS):
        part = blocks[slice(start, start + PASS)]
        values = read(subject, part, sites)
        keep = ordinary(values, limit)
        rows.append(values[keep].float())
        documents.append(np.repeat(part.document, part.length - part.prefix)[keep.numpy()])
        progress("reading held-out text", start + len(part), len(blocks))
    return Held(blocks, torch.cat(rows), np.concatenate(documents))


def describe(
    encode: Reconstruct, decode: Reconstruct, held: Held, *, site: int, calibration: Float[Tensor, "tokens d_model"]
) -> dict[str, float]:
    """Everything that needs no splicing, as flat metrics; `site` is an index into the rows of `held`."""
    x = held.rows[:, site]
    mean = x.mean(dim=0)
    error, cosine, active, fired = _reconstruct(encode, decode, x)
    silent = ~fired & ~torch.cat([(encode(part) > 0).any(dim=0)[None] for part in calibration.split(CHUNK)]).any(dim=0)
    l0 = active.mean().item()
    pca = fit_pca(calibration, round(l0))
    variance = _by_document(held, (x - mean).square().sum(dim=-1))
    tokens = _by_document(held, torch.ones(len(x)))
    unexplained = ratio(_by_document(held, error), variance)
    missed = ratio(_by_document(held, (x - pca(x)).square().sum(dim=-1)), variance)
    return (
        _flat("explained_variance", _one_minus(unexplained)) | _flat("pca_explained_variance", _one_minus(missed))
        | _flat("l0", ratio(_by_document(held, active), tokens))
        | _flat("cosine", ratio(_by_document(held, cosine), tokens))
        | {"dead": silent.float().mean().item(), "dead_tokens": len(x) + len(calibration)}
        | {"pca_components": round(l0), "heldout_tokens": len(x), "heldout_documents": len(tokens)}
    )  # fmt: skip


def _reconstruct(
    encode: Reconstruct, decode: Reconstruct, x: Float[Tensor, "tokens d_model"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Squared error, cosine and number of active latents of each token; which latents fired at all."""
    errors, cosines, active, fired = [], [], [], []
    for part in x.split(CHUNK):
        latents = encode(part)
        back = decode(latents)
        errors.append((part - back).square().sum(dim=-1))
        cosines.append(nn_functional.cosine_similarity(part, back, dim=-1))
        active.append((latents > 0).sum(dim=-1).float())
        fired.append((latents > 0).any(dim=0))
    return torch.cat(errors), torch.cat(cosines), torch.cat(active), torch.stack(fired).any(dim=0)


@dataclass(frozen=True)
class Forms:
    """What is spliced in at a site: `forms` by name, `ablated` (which counts as nothing recovered) among them."""

    forms: Mapping[str, Reconstruct]
    limit: Tensor
    """The norm beyond which a token is massive and stays clean."""


def recovered(
    subject: Subject, blocks: Blocks, spliced: Mapping[Site, Forms], progress: Progress | None = None
) -> dict[Site, dict[str, Estimate]]:
    """CE-recovered of each form but `ablated` at each site; the clean pass is made once for all sites."""
    sums: dict[tuple[Site | None, str], list[np.ndarray]] = {}
    for start in range(0, len(blocks), PASS):
        part = blocks[slice(start, start + PASS)]
        for key, losses in _losses(subject, part, spliced):
            sums.setdefault(key, []).append(losses)
        if progress:
            progress("evaluating", start + len(part), len(blocks))
    total = {key: _group(np.concatenate(found), blocks.document) for key, found in sums.items()}
    return {site: _shares(total, site, forms.forms) for site, forms in spliced.items()}


def _shares(
    total: Mapping[tuple[Site | None, str], np.ndarray], site: Site, forms: Mapping[str, Reconstruct]
) -> dict[str, Estimate]:
    ablated = total[site, "ablated"]
    gap = ablated - total[None, "clean"]
    return {name: ratio(ablated - total[site, name], gap) for name in forms if name != "ablated"}


@torch.no_grad()
def _losses(
    subject: Subject, blocks: Blocks, spliced: Mapping[Site, Forms]
) -> Iterator[tuple[tuple[Site | None, str], np.ndarray]]:
    """Each block's summed cross-entropy: of the clean model (under None), and with each form spliced in at each site."""
    tokens = torch.from_numpy(blocks.tokens)
    values: dict[Site, Tensor] = {}
    logits = subject.run(tokens, edits={site: functools.partial(values.__setitem__, site) for site in spliced})
    assert logits is not None  # only a pass with `stop` gives none
    yield (None, "clean"), _cross_entropy(blocks, logits)
    for site, forms in spliced.items():
        value = values.pop(site)
        keep = real(blocks) & (value.float().norm(dim=-1) <= forms.limit)
        for name, form in forms.forms.items():
            edited = value.clone()
            edited[keep] = form(value[keep].float()).to(value.dtype)
            yield (site, name), _cross_entropy(blocks, _flow_on(subject, tokens, site, edited))


def _flow_on(subject: Subject, tokens: Tensor, site: Site, value: Tensor) -> Tensor:
    """Logits given `value` at `site`; a pass begins there where it can."""
    if site.kind in ("resid_pre", "resid_post"):
        logits = subject.run(tokens, start=(site, value))
    else:
        logits = subject.run(tokens, edits={site: lambda _: value})
    assert logits is not None  # only a pass with `stop` gives none
    return logits


def _cross_entropy(blocks: Blocks, logits: Tensor) -> np.ndarray:
    """Summed cross-entropy [block] of the tokens after each real token."""
    tokens = torch.from_numpy(blocks.tokens)
    counted = real(blocks)[:, :-1] & real(blocks)[:, 1:]
    losses = torch.zeros(counted.shape)
    losses[counted] = nn_functional.cross_entropy(
        logits[:, :-1][counted].float(), tokens[:, 1:][counted], reduction="none"
    )
    return losses.sum(dim=1).numpy()


def ratio(above: np.ndarray, below: np.ndarray, *, seed: int = 0) -> Estimate:
    """sum(above) / sum(below) over documents, with a 95 % bootstrap interval over documents."""
    drawn = np.random.default_rng(seed).multinomial(len(above), np.full(len(above), 1 / len(above)), 1000)
    values = (drawn @ above) / (drawn @ below)
    lower, upper = np.quantile(values, [0.025, 0.975])
    return Estimate(float(above.sum() / below.sum()), float(lower), float(upper))


def _by_document(held: Held, values: Float[Tensor, " tokens"]) -> np.ndarray:
    return _group(values.double().numpy(), held.document)


def _group(values: np.ndarray, document: np.ndarray) -> np.ndarray:
    """Sums of `values` by document."""
    _, index = np.unique(document, return_inverse=True)
    return np.bincount(index, weights=values)


def _one_minus(estimate: Estimate) -> Estimate:
    return Estimate(1 - estimate.value, 1 - estimate.upper, 1 - estimate.lower)


def _flat(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_lower": estimate.lower, f"{name}_upper": estimate.upper}


def flat_recovered(found: Mapping[str, Estimate]) -> dict[str, float]:
    """`recovered`'s estimates of `dictionary` and `pca` as flat metrics."""
    return _flat("ce_recovered", found["dictionary"]) | _flat("pca_ce_recovered", found["pca"])


from training.heldout import sample as sample  # noqa: E402
