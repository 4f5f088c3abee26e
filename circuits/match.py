"""Which latent of one dictionary is which of another.

1. The likeness of two latents is the cosine of their decoder rows. Where both dictionaries were harvested on the same
   documents, it is the mean of that cosine and of their co-activation, the cosine of their activations over those tokens:
   latents that write alike but fire on other tokens are not the same feature.
2. Only latents in use are lined up: those with effects in either circuit, and the likeliest partners of each.
3. One-to-one, so that the sum of likenesses is largest (the assignment problem, `scipy.optimize.linear_sum_assignment`);
   pairs below the threshold count for nothing and are left unmatched.
4. The share that found a partner is reported beside the share that would have by chance: with the other dictionary's
   decoder turned by a random rotation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from torch import Tensor

from data import queries
from data.store import Workspace

PARTNERS = 3
"""Likeliest partners of each latent that are lined up beside those in use."""


@dataclass(frozen=True)
class Matching:
    """Partners in the right dictionary of latents of the left one, and how alike each pair is."""

    partner: Mapping[int, int]
    likeness: Mapping[int, float]
    by: str
    """What the likeness is."""
    share: float
    """Of the latents in use on either side, those with a partner."""
    chance: float
    """Share of the left ones in use that have a candidate above the threshold in a randomly turned right decoder."""

    @property
    def back(self) -> dict[int, int]:
        """From right to left."""
        return {right: left for left, right in self.partner.items()}


def match(
    left: Float[Tensor, "d_left d_model"],
    right: Float[Tensor, "d_right d_model"],
    used_left: Collection[int],
    used_right: Collection[int],
    *,
    threshold: float,
    together: Float[Tensor, "d_left d_right"] | None = None,
    seed: int = 0,
) -> Matching:
    """Lines up the latents in use; `together` is their co-activation, where it is known."""
    rows_used, columns_used = (torch.tensor(sorted(used), dtype=torch.long) for used in (used_left, used_right))
    left, right = (torch.nn.functional.normalize(w.float(), dim=1) for w in (left, right))
    forward, backward = _alike(left, right, together, rows_used), _alike(right, left, _turned(together), columns_used)
    rows = torch.cat([rows_used, _partners(backward)]).unique()
    columns = torch.cat([columns_used, _partners(forward)]).unique()
    likeness = _alike(left, right, together, rows)[:, columns]
    row, column = linear_sum_assignment(-torch.where(likeness >= threshold, likeness, 0.0).numpy())
    found = [(int(rows[i]), int(columns[j]), float(likeness[i, j])) for i, j in zip(row, column, strict=True)]
    pairs = [one for one in found if one[2] >= threshold]
    partner = {a: b for a, b, _ in pairs}
    matched = len(partner.keys() & set(used_left)) + len({b for _, b, _ in pairs} & set(used_right))
    rotated = _alike(left, right @ _rotation(right.shape[1], seed), None, rows_used)
    return Matching(
        partner,
        {a: size for a, _, size in pairs},
        "decoder cosine" if together is None else "decoder cosine and co-activation",
        matched / max(len(rows_used) + len(columns_used), 1),
        float((rotated.max(1).values >= threshold).float().mean()) if len(rows_used) else 0.0,
    )


def _alike(
    left: Tensor, right: Tensor, together: Tensor | None, rows: Int[Tensor, " rows"]
) -> Float[Tensor, "rows d_right"]:
    cosine = left[rows] @ right.T
    return cosine if together is None else (cosine + together[rows]) / 2


def _turned(together: Tensor | None) -> Tensor | None:
    return None if together is None else together.T


def _partners(likeness: Float[Tensor, "rows columns"]) -> Int[Tensor, " some"]:
    return likeness.topk(min(PARTNERS, likeness.shape[1]), dim=1).indices.flatten()


def _rotation(width: int, seed: int) -> Float[Tensor, "width width"]:
    return torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed)))[0]


def co_activation(
    workspace: Workspace, left: str, right: str, widths: tuple[int, int]
) -> Float[Tensor, "d_left d_right"] | None:
    """The cosine of the activations of every two latents of two dictionaries, over the documents that a harvest of each
    has read; None when there are none."""
    best = max(
        ((_shared(workspace, a, b), a, b) for a in _harvests(workspace, left) for b in _harvests(workspace, right)),
        key=lambda found: len(found[0]),
        default=(set(), "", ""),
    )
    documents, *harvests = best
    if not documents:
        return None
    sides = [
        _activations(workspace, dictionary, harvest, documents)
        for dictionary, harvest in zip((left, right), harvests, strict=True)
    ]
    tokens, place = np.unique(np.concatenate([token for _, token, _ in sides]), return_inverse=True)
    columns = np.split(place, [len(sides[0][1])])
    a, b = (
        _normalised(csr_matrix((value, (latent, column)), shape=(width, len(tokens))))
        for (latent, _, value), column, width in zip(sides, columns, widths, strict=True)
    )
    return torch.from_numpy(np.asarray((a @ b.T).todense(), dtype=np.float32))


def _harvests(workspace: Workspace, dictionary: str) -> Sequence[str]:
    return [row["harvest"] for row in queries.harvests(workspace, dictionary)]


def _shared(workspace: Workspace, left: str, right: str) -> set[int]:
    """The numbers of documents that two harvests have read, token for token."""
    a, b = (_documents(workspace.folder / "tokens" / harvest) for harvest in (left, right))
    return {number for number in a.keys() & b.keys() if a[number] == b[number]}


def _documents(folder: Path) -> dict[int, tuple[int, ...]]:
    tables = [pq.read_table(part, columns=["document", "ids"]) for part in sorted(folder.glob("part-*.parquet"))]
    rows = [zip(t["document"].to_pylist(), t["ids"].to_pylist(), strict=True) for t in tables]
    return {number: tuple(ids) for some in rows for number, ids in some}


def _activations(
    workspace: Workspace, dictionary: str, harvest: str, documents: set[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latent, token (document and position as one number) and value of each activation in `documents`."""
    parts = sorted((workspace.folder / "activations" / dictionary).glob(f"part-{harvest}-*.parquet"))
    tables = [pq.read_table(part, columns=["latent", "document", "position", "value"]) for part in parts]
    latent, document, position, value = (
        np.concatenate([np.zeros(0), *(t[name].to_numpy() for t in tables)])
        for name in ("latent", "document", "position", "value")
    )
    inside = np.isin(document, list(documents))
    token = document.astype(np.int64) << 32 | position.astype(np.int64)
    return latent[inside].astype(np.int64), token[inside], value[inside]


def _normalised(rows: csr_matrix) -> csr_matrix:
    norm = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    return csr_matrix(rows.multiply((1 / np.where(norm > 0, norm, 1))[:, None]))
