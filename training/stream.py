"""Activations at many sites, from one forward pass that stops at the deepest.

1. The train split's blocks are put in a seeded order, another one each epoch when the text must be gone through again.
2. `Stream.next` runs the subject on the next few blocks and keeps the real tokens: prefix and padding are dropped.
3. `measure` looks at a sample first: each site's mean, its scale, and the norm beyond which a token is *massive*.

A few tokens (a full stop right after the prefix, in SmolLM2) have a residual norm a hundred times all others': "massive
activations" (Sun et al. 2024, arXiv 2402.17762). Like the prefix they carry no content, and a squared error would see
nothing else; tokens beyond `MASSIVE` times the median norm at any site are left out of training and statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from data.errors import Mistake
from data.models import Subject
from data.texts import Blocks
from data.words import Site

MASSIVE = 10.0
"""Times the median norm. Ordinary tokens of SmolLM2 stay below 9 times it, massive ones are beyond 100 times."""
PASS = 16
"""Blocks in a forward pass: large enough for full speed, small enough for 100 MB of logits-free workspace."""


@dataclass(frozen=True)
class Scales:
    """What a sample says of each site: `mean` [site, d_model], `scale` and `limit` [site]."""

    mean: Tensor
    scale: Tensor
    """Times an activation gives mean squared distance 1 from the mean, so that the loss is the unexplained share."""
    limit: Tensor
    """The norm beyond which a token is massive."""


def real(blocks: Blocks) -> Bool[Tensor, "batch pos"]:
    """Where `blocks` hold tokens of the text: neither the prefix nor padding."""
    place = torch.arange(blocks.tokens.shape[1])[None]
    return (place >= blocks.prefix) & (place < torch.from_numpy(blocks.length)[:, None])


def read(subject: Subject, blocks: Blocks, sites: Sequence[Site]) -> Float[Tensor, "tokens site d_model"]:
    """The activations of every real token of `blocks` at `sites`, in order."""
    keep = real(blocks)
    with torch.no_grad():
        values = subject.read(torch.from_numpy(blocks.tokens), sites)
    return torch.stack([values[site].cpu()[keep] for site in sites], dim=1)


def ordinary(rows: Float[Tensor, "tokens site d_model"], limit: Float[Tensor, " site"]) -> Bool[Tensor, " tokens"]:
    """Which tokens are massive at no site."""
    return (rows.float().norm(dim=-1) <= limit).all(dim=-1)


def measure(rows: Float[Tensor, "tokens site d_model"]) -> Scales:
    """Mean, scale and limit of each site, from a sample; massive tokens count for the limit alone."""
    norms = rows.float().norm(dim=-1)
    limit = MASSIVE * norms.median(dim=0).values
    rows = rows[ordinary(rows, limit)].float()
    mean = rows.mean(dim=0)
    spread = (rows - mean).square().sum(dim=-1).mean(dim=0).sqrt()
    return Scales(mean, 1 / spread.clamp(min=1e-6), limit)


class Stream:
    """Activations in the order of training. `cursor` counts blocks gone through; set it to go on from there."""

    def __init__(self, subject: Subject, blocks: Blocks, sites: Sequence[Site], *, seed: int) -> None:
        if not len(blocks):
            raise Mistake("The text has no document in its train split; give a longer text with --text.")
        self.subject, self.blocks, self.sites, self.seed = subject, blocks, tuple(sites), seed
        self.cursor = 0
        self.limit: Tensor | None = None

    def order(self, epoch: int) -> np.ndarray:
        """The order of the blocks in an epoch: a permutation that depends on seed and epoch alone."""
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.blocks))

    def upcoming(self, count: int) -> Blocks:
        """The next `count` blocks (fewer at the end of an epoch), without going on."""
        epoch, place = divmod(self.cursor, len(self.blocks))
        return self.blocks[self.order(epoch)[place : place + count]]

    def next(self) -> Float[Tensor, "tokens site d_model"]:
        """The activations of the next few blocks; massive tokens are dropped once `limit` is set."""
        blocks = self.upcoming(PASS)
        self.cursor += len(blocks)
        rows = read(self.subject, blocks, self.sites)
        return rows if self.limit is None else rows[ordinary(rows, self.limit)]
