"""A dictionary's activations as entries (token, latent, value), never more than a slice of [tokens, d_sae] at a time.

1. Massive tokens are left out, on which the dictionary was not trained.
2. The latents are taken in slices, so that pre-activations hold at most `CELLS` numbers however wide the dictionary is.
   A slice of a dictionary is the same sae-lens object with a slice of each weight, so it encodes by its own code.
3. Where a latent is active when it passes a threshold (JumpReLU, Rajamanoharan et al. 2024, arXiv 2407.14435; ReLU is
   the threshold 0), one product and one comparison do it, and the rest of the dense form is never made.
4. Where the k largest of a token are kept (Gao et al. 2024, arXiv 2406.04093) each slice gives its k largest, and of
   these the k largest are kept: the same ones.

What is encoded by other rules, or by an object that is not sae-lens', is encoded whole, a few tokens at a time.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from autointerp.shards import sort_stably
from training.dictionary import Dictionary

CELLS = 1 << 23
"""Numbers in a slice of pre-activations: 32 MB, of which a few are made."""
THRESHOLD = ("JumpReLUSAE", "StandardSAE", "JumpReLUTranscoder", "JumpReLUSkipTranscoder")
"""sae-lens' classes whose latents are x W_enc + b_enc where that is above a threshold."""
LARGEST = ("TopKSAE", "TopKSkipTranscoder")
"""Classes that keep the k largest of a token."""
EACH = ("GatedSAE", "Transcoder", "SkipTranscoder")
"""Classes whose latents do not depend on one another."""
LAST = ("W_enc", "b_enc", "b_gate", "b_mag", "r_mag", "threshold")
"""Weights that have a column, or one number, for each latent. `W_dec` has a row."""


@dataclass(frozen=True)
class Entries:
    """The non-zero activations of some tokens, by token and within a token by latent."""

    row: Int[np.ndarray, " entries"]
    latent: Int[np.ndarray, " entries"]
    value: Float[np.ndarray, " entries"]

    def __len__(self) -> int:
        return len(self.row)


@torch.no_grad()
def entries(dictionary: Dictionary, values: Float[Tensor, "tokens d_in"]) -> Entries:
    """The non-zero entries of `dictionary.encode(values)` at tokens that are not massive."""
    values = values.float()
    first = values[:, : values.shape[1] // len(dictionary.reads)]  # the limit is noted for the first site that is read
    ordinary = (first.norm(dim=-1) <= dictionary.massive_norm).nonzero()[:, 0]
    kept = values if len(ordinary) == len(values) else values[ordinary]
    pieces = list(_pieces(dictionary, kept))
    if not pieces:
        return Entries(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    whole = pieces[0] if len(pieces) == 1 else _joined(pieces, _k(dictionary))
    return Entries(ordinary.numpy().astype(np.int32)[whole.row], whole.latent, whole.value)


def _pieces(dictionary: Dictionary, values: Tensor) -> Iterator[Entries]:
    """Entries of all latents, slice by slice; those of a slice are sorted by row."""
    if not len(values):
        return
    name = type(dictionary.sae).__name__
    if name in THRESHOLD:
        source = dictionary.sae.process_sae_in(values)
        for span in _spans(dictionary.latents, len(values)):
            yield _passing(dictionary.sae, source, span)
    elif name in LARGEST + EACH:
        for span in _spans(dictionary.latents, len(values), fewest=_k(dictionary)):
            yield _nonzero(_slice(dictionary.sae, span).encode(values), span.start)
    else:
        yield from _few(dictionary, values)


def _few(dictionary: Dictionary, values: Tensor) -> Iterator[Entries]:
    """All latents at once, a few tokens at a time."""
    rows = max(CELLS // dictionary.latents, 1)
    for number, part in enumerate(values.split(rows)):
        found = _nonzero(dictionary.encode(part), 0)
        yield Entries(found.row + np.int32(number * rows), found.latent, found.value)


def _spans(latents: int, tokens: int, fewest: int = 1) -> list[range]:
    """All latents in slices of equal size (give or take one), of `fewest` or more."""
    slices = min(-(-latents * tokens // CELLS), max(latents // fewest, 1))
    cuts = np.linspace(0, latents, slices + 1).astype(int).tolist()
    return [range(a, b) for a, b in itertools.pairwise(cuts)]


def _passing(sae: Any, source: Tensor, span: range) -> Entries:
    """Entries whose pre-activation is above the latent's threshold and above 0."""
    at = slice(span.start, span.stop)
    pre = torch.addmm(sae.b_enc[at], source, sae.W_enc[:, at])
    threshold = getattr(sae, "threshold", None)
    active = pre > (0 if threshold is None else threshold[at].clamp(min=0))
    return _at(np.flatnonzero(active.numpy()), pre, span.start)


def _nonzero(dense: Tensor, start: int) -> Entries:
    return _at(np.flatnonzero((dense != 0).numpy()), dense, start)


def _at(places: np.ndarray, dense: Tensor, start: int) -> Entries:
    """The entries at flat `places` of `dense`, whose first column is latent `start`."""
    row, latent = np.divmod(places, dense.shape[1])
    value = dense.contiguous().view(-1).numpy()[places]
    return Entries(row.astype(np.int32), (latent + start).astype(np.int32), value)


def _slice(sae: Any, span: range) -> Any:
    """`sae` as if it had the latents in `span` alone; the weights are views, and nothing is copied."""
    at = slice(span.start, span.stop)
    part = copy.copy(sae)
    part._parameters = {
        name: _cut(name, weight.detach(), at) if weight is not None else None
        for name, weight in sae._parameters.items()
    }
    return part


def _cut(name: str, weight: Tensor, at: slice) -> Tensor:
    if name == "W_dec":
        return weight[at]
    return weight[..., at] if name in LAST else weight


def _k(dictionary: Dictionary) -> int:
    """How many latents of a token are kept, where their number is fixed; otherwise 1."""
    return int(dictionary.sae.cfg.k) if type(dictionary.sae).__name__ in LARGEST else 1


def _joined(pieces: list[Entries], k: int) -> Entries:
    """Slices of the same tokens (or of different ones) as one; the `k` largest of each token if that is fixed."""
    row, latent, value = (np.concatenate([getattr(p, name) for p in pieces]) for name in ("row", "latent", "value"))
    if k > 1:
        kept = _largest(row, value, k)
        row, latent, value = row[kept], latent[kept], value[kept]
    order = sort_stably(row)
    return Entries(row[order], latent[order], value[order])


def _largest(row: np.ndarray, value: np.ndarray, k: int) -> np.ndarray:
    """The places, ascending, of each row's `k` largest values."""
    order = np.lexsort((-value, row))
    first = np.searchsorted(row[order], row[order])
    return np.sort(order[np.arange(len(order)) - first < k])


__all__ = ["Entries", "entries"]
