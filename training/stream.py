"""Activations at many sites, from one forward pass that stops at the deepest.

1. The train split's blocks are put in a seeded order, another one each epoch when the text must be gone through again.
2. `Stream.next` runs the subject on the next few blocks and keeps the real tokens: prefix and padding are dropped.
3. `measure` looks at a sample first: each site's mean, its scale, and the norm beyond which a token is *massive*.

A few tokens (a full stop right after the prefix, in SmolLM2) have a residual norm a hundred times all others': "massive
activations" (Sun et al. 2024, arXiv 2402.17762). Like the prefix they carry no content, and a squared error would see
nothing else; tokens beyond `MASSIVE` times the median norm at any site are left out of training and statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from data.errors import Mistake
from data.models import Subject
from data.texts import Blocks, blocks, documents
from data.words import Site
from training.reservoir import Rows

MASSIVE = 10.0
"""Times the median norm. Ordinary tokens of SmolLM2 stay below 9 times it, massive ones are beyond 100 times."""
HELDOUT = 1_000_000
"""Held-out tokens from which those to evaluate on are drawn; the bundled sample has fewer."""
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


def documents_of(blocks: Blocks) -> Int[Tensor, " tokens"]:
    """The number of the document that each real token of `blocks` is from, in the order of `read`."""
    return torch.from_numpy(blocks.document).long()[real(blocks).nonzero()[:, 0]]


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
    """Activations in the order of training."""

    def __init__(self, subject: Subject, blocks: Blocks, sites: Sequence[Site], *, seed: int) -> None:
        if not len(blocks):
            raise Mistake("The text has no document in its train split; give a longer text with --text.")
        self.subject, self.shelf, self.sites, self.seed = subject, blocks, tuple(sites), seed
        self.epoch = 0
        self.place = 0
        self.limit: Tensor | None = None

    def order(self, epoch: int) -> np.ndarray:
        """The order of the blocks in an epoch: a permutation that depends on seed and epoch alone."""
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.shelf))

    @property
    def epochs(self) -> float | None:
        """How often the text was gone through; None while its length is not known."""
        return self.epoch + self.place / len(self.shelf)

    def state(self) -> dict[str, int]:
        """Where the stream stands, as a few integers."""
        return {"epoch": self.epoch, "block": self.place}

    def go_to(self, state: Mapping[str, int]) -> None:
        """Goes on from where `state` was taken."""
        self.epoch, self.place = state["epoch"], state["block"]

    def upcoming(self, count: int) -> Blocks:
        """The next `count` blocks (fewer at the end of a shelf), without going on."""
        return self.shelf[self.order(self.epoch)[self.place : self.place + count]]

    def next(self) -> Rows:
        """The activations of the next few blocks; massive tokens are dropped once `limit` is set."""
        blocks = self.upcoming(PASS)
        self.place += len(blocks)
        if self.place == len(self.shelf):
            self.epoch, self.place = self.epoch + 1, 0
        return self._read(blocks)

    def _read(self, blocks: Blocks) -> Rows:
        rows = Rows(read(self.subject, blocks, self.sites), documents_of(blocks))
        return rows if self.limit is None else rows[ordinary(rows.values, self.limit)]


def open_stream(subject: Subject, text: str | None, sites: Sequence[Site], *, context: int, seed: int) -> Stream:
    """The activations of the train split of `text` (a path; None: the bundled sample) at `sites`.

    `context` is the tokens in a block, prefix included. Raises `Mistake` on an unknown site or a text without tokens.
    """
    for site in sites:
        subject.check(site)
    cut = blocks(documents(text, "train"), subject.tokenizer, context=context, prefix=subject.prefix)
    return Stream(subject, cut, sites, seed=seed)


def calibration_blocks(stream: Stream, tokens: int) -> Blocks:
    """Blocks of about `tokens` tokens to calibrate on: the last of the first epoch, which training reaches last."""
    order = stream.order(0)[::-1]
    total = np.cumsum(stream.shelf.length[order] - stream.shelf.prefix)
    return stream.shelf[order[: int(np.searchsorted(total, tokens)) + 1]]


def heldout_blocks(subject: Subject, text: str | None, *, context: int) -> Blocks:
    """The held-out split of `text`, or the first `HELDOUT` tokens of it."""
    return blocks(documents(text, "heldout"), subject.tokenizer, context=context, prefix=subject.prefix, limit=HELDOUT)
