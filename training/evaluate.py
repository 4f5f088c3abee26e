"""How good a dictionary is: on held-out documents, in fp32, beside PCA with as many components as latents are active.

1. `sample` picks blocks of the held-out split in rounds over documents, so that few tokens come from many documents.
2. Explained variance is 1 - sum |x - x'|^2 / sum |x - mean|^2 over tokens, without prefix, padding, massive ones.
3. CE-recovered splices x' into the model at the same tokens: (ablated - spliced) / (ablated - clean) cross-entropy of
   the next token, where *ablated* puts the mean training activation there (mean ablation; 0 components of the PCA).
4. A latent is dead when it fired neither on the held-out nor on the calibration tokens.
5. PCA (Pearson 1901) is fitted on the calibration tokens, which are training text.

Intervals are 95 % percentile bootstraps over documents (Efron 1979) of the ratio of sums.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as nn_functional

from data.errors import Mistake
from data.models import Subject
from data.texts import Blocks
from data.words import Estimate, Site
from training.stream import ordinary, read, real

DESCRIBED = 8_192
"""Held-out tokens on which reconstructions are compared."""
SPLICED = 2_048
"""Of these, tokens on which cross-entropy is measured: each costs a pass through the model, and
three more from each site on."""
RESAMPLES = 1000
PASS = 4
"""Blocks in a pass with logits: 4 x 128 x 49152 of them take 100 MB, three times over."""
CHUNK = 4096
"""Tokens encoded at a time: 2304 latents of that many take 38 MB."""

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


def sample(blocks: Blocks, tokens: int, seed: int) -> Blocks:
    """About `tokens` tokens' worth of blocks: one of each document in a random order, then a second, and so on."""
    if not len(blocks):
        raise Mistake("The text has no document in its held-out split to evaluate on; give a longer text with --text.")
    order = np.random.default_rng(seed).permutation(len(blocks))
    seen: dict[int, int] = {}
    rounds = [seen[d] for d in blocks.document[order].tolist() if seen.update({d: seen.get(d, -1) + 1}) is None]
    order = order[np.argsort(rounds, kind="stable")]
    total = np.cumsum(blocks.length[order] - blocks.prefix)
    return blocks[order[: int(np.searchsorted(total, tokens)) + 1]]


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
    drawn = np.random.default_rng(seed).multinomial(len(above), np.full(len(above), 1 / len(above)), RESAMPLES)
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
