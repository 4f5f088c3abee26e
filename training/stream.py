"""Activations at many sites, from one forward pass that stops at the deepest.

1. The train split is tokenised a shelf at a time (`data.texts.Text`). A shelf's blocks are put in a seeded order, another
   one each epoch when the text must be gone through again.
2. `Stream.next` runs the subject on the next few blocks and keeps the real tokens: prefix, padding and special tokens
   are dropped. `state` is a few integers, and `go_to` goes on from there bit for bit.
3. `measure` looks at a sample first: each site's mean, its scale, and the norm beyond which a token is *massive*.

A few tokens (a full stop right after the prefix, in SmolLM2) have a residual norm a hundred times all others': "massive
activations" (Sun et al. 2024, arXiv 2402.17762). Like the prefix they carry no content, and a squared error would see
nothing else; tokens beyond `MASSIVE` times the median norm at any site are left out of training and statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from data.errors import Mistake
from data.models import Subject
from data.texts import Blocks, Shelf, Text
from data.words import Site
from training.group import Alone
from training.reservoir import Rows

MASSIVE = 10.0
"""Times the median norm. Ordinary tokens of SmolLM2 stay below 9 times it, massive ones are beyond 100 times."""
HELDOUT = 1_000_000
"""Held-out tokens from which those to evaluate on are drawn; the bundled sample has fewer."""
DRAWN = 4
"""Times the calibration tokens from which these are drawn."""
PASS = 16
"""Blocks in a forward pass: large enough for full speed, small enough for 100 MB of logits-free workspace."""
WINDOW = 8 * PASS
"""Blocks that are sorted by length: the last blocks of some 30 documents fill two passes, instead of being an eighth of
padding in every one."""


@dataclass(frozen=True)
class Scales:
    """What a sample says of each site: `mean` [site, d_model], `scale` and `limit` [site]."""

    mean: Tensor
    scale: Tensor
    """Times an activation gives mean squared distance 1 from the mean, so that the loss is the unexplained share."""
    limit: Tensor
    """The norm beyond which a token is massive."""


def real(blocks: Blocks) -> Bool[Tensor, "batch pos"]:
    """Where `blocks` hold tokens of the text: neither prefix nor padding nor special tokens."""
    return torch.from_numpy(blocks.real)


def documents_of(blocks: Blocks) -> Int[Tensor, " tokens"]:
    """The number of the document that each real token of `blocks` is from, in the order of `read`."""
    return torch.from_numpy(blocks.document).long()[real(blocks).nonzero()[:, 0]]


def read(
    subject: Subject, blocks: Blocks, sites: Sequence[Site], *, device: torch.device | str = "cpu"
) -> Float[Tensor, "tokens site d_model"]:
    """The activations of every real token of `blocks` at `sites`, in order, on `device`."""
    blocks = blocks.trimmed()
    with torch.no_grad():
        values = subject.read(torch.from_numpy(blocks.tokens), sites)
    keep = real(blocks).flatten().nonzero().squeeze(1).to(subject.device)  # indices: a mask would make a GPU wait
    return _moved(torch.stack([values[site].flatten(0, 1)[keep] for site in sites], dim=1), torch.device(device))


def _moved(rows: Tensor, device: torch.device) -> Tensor:
    """`rows` on `device`; from a GPU by way of pinned memory, which its other work need not wait for."""
    if rows.device.type != "cuda" or device.type != "cpu":
        return rows.to(device)
    pinned = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
    pinned.copy_(rows, non_blocking=True)
    torch.cuda.current_stream(rows.device).synchronize()
    return pinned


def ordinary(rows: Float[Tensor, "tokens site d_model"], limit: Float[Tensor, " site"]) -> Bool[Tensor, " tokens"]:
    """Which tokens are massive at no site."""
    return (rows.float().norm(dim=-1) <= limit.to(rows.device)).all(dim=-1)


def measure(rows: Float[Tensor, "tokens site d_model"]) -> Scales:
    """Mean, scale and limit of each site, from a sample; massive tokens count for the limit alone."""
    norms = rows.float().norm(dim=-1)
    limit = MASSIVE * norms.median(dim=0).values
    rows = rows[ordinary(rows, limit)].float()
    mean = rows.mean(dim=0)
    spread = (rows - mean).square().sum(dim=-1).mean(dim=0).sqrt()
    return Scales(mean, 1 / spread.clamp(min=1e-6), limit)


def order_of(blocks: Blocks, rng: np.random.Generator) -> np.ndarray:
    """A permutation drawn at random, each `WINDOW` of which is put into passes of blocks of like length."""
    drawn = rng.permutation(len(blocks))
    windows = [drawn[start : start + WINDOW] for start in range(0, len(drawn), WINDOW)]
    return np.concatenate([drawn[:0], *(_alike(window, blocks.length, rng) for window in windows)])


def _alike(window: np.ndarray, length: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    ordered = window[np.argsort(length[window], kind="stable")]
    passes = [ordered[start : start + PASS] for start in range(0, len(ordered), PASS)]
    return np.concatenate([passes[i] for i in rng.permutation(len(passes))])


@dataclass(frozen=True)
class Position:
    """Where a stream stands: all that is needed to go on from there."""

    epoch: int = 0
    shelf: int = 0
    """Shelves of this epoch that are used up."""
    document: int = 0
    """The number of the first document that may be on this shelf."""
    block: int = 0
    """Blocks of this shelf that were handed out."""
    before: int = 0
    """Blocks on this epoch's earlier shelves."""
    whole: int = 0
    """Blocks in an epoch; 0 until the first one has ended."""


@dataclass(frozen=True)
class Pass:
    """The `blocks` of each process, and the activations of this process' `own`."""

    blocks: tuple[Blocks, ...]
    own: Float[Tensor, "tokens site d_model"]


class Stream:
    """Activations of a text's train split in the order of training, on `device`."""

    def __init__(
        self,
        subject: Subject,
        text: Text,
        sites: Sequence[Site],
        *,
        seed: int,
        device: torch.device | str = "cpu",
        group: Alone | None = None,
    ) -> None:
        self.subject, self.text, self.sites, self.seed, self.device = subject, text, tuple(sites), seed, device
        self.group = group or Alone()
        self.at = Position()
        self.limit: Tensor | None = None
        self._shelf = text.shelf()
        if not len(self.shelf):
            raise Mistake("The text has no document in its train split; give a longer text with --text.")

    @property
    def shelf(self) -> Blocks:
        """The blocks that are tokenised at present."""
        return self._present.blocks

    @property
    def _present(self) -> Shelf:
        if self._shelf.start != self.at.document:
            self._shelf = self.text.shelf(self.at.document)
        return self._shelf

    @property
    def left_out(self) -> tuple[int, ...]:
        """The token ids that are neither trained on nor evaluated on."""
        return tuple(sorted({*self.subject.prefix, *self.shelf.special}))

    def order(self, epoch: int, shelf: int = 0) -> np.ndarray:
        """The order of the present blocks in an epoch: a permutation that depends on seed, epoch and shelf alone."""
        return order_of(self.shelf, np.random.default_rng([self.seed, epoch, shelf]))

    @property
    def epochs(self) -> float | None:
        """How often the text was gone through; None while its length is not known."""
        whole = self.at.whole
        if not whole and self._present.following is None:
            whole = self.at.before + len(self.shelf)
        return self.at.epoch + (self.at.before + self.at.block) / whole if whole else None

    def state(self) -> dict[str, int]:
        """Where the stream stands, as a few integers."""
        return asdict(self.at)

    def go_to(self, state: Mapping[str, int]) -> None:
        """Goes on from where `state` was taken; nothing before that shelf is tokenised."""
        self.at = Position(**state)

    def upcoming(self, count: int) -> Blocks:
        """The next `count` blocks (fewer at the end of a shelf), without going on."""
        order = self.order(self.at.epoch, self.at.shelf)
        return self.shelf[order[self.at.block : self.at.block + count]]

    def next(self) -> Rows:
        """The activations of the next few blocks; massive tokens are dropped once `limit` is set.

        A group makes as many passes at once as it has processes, each of the size that one process would give it.
        """
        return self.end(self.begin())

    def begin(self) -> Pass:
        """The first half of `next`: the forward pass of this process, which no other process need wait for."""
        passes = tuple(self._claim() for _ in range(self.group.world))
        return Pass(passes, read(self.subject, passes[self.group.rank], self.sites, device=self.device))

    def end(self, made: Pass) -> Rows:
        """The other half: the rows of all processes, ordinary tokens only."""
        values = self.group.gather(made.own, [int(blocks.real.sum()) for blocks in made.blocks])
        rows = Rows(values, torch.cat([documents_of(blocks) for blocks in made.blocks]).to(values.device))
        return rows if self.limit is None else rows[ordinary(rows.values, self.limit)]

    def _claim(self) -> Blocks:
        """The blocks of the next pass, which count as handed out."""
        while not len(blocks := self.upcoming(PASS)):  # a text may end on documents without a token
            self._turn()
        self.at = replace(self.at, block=self.at.block + len(blocks))
        if self.at.block == len(self.shelf):
            self._turn()
        return blocks

    def _turn(self) -> None:
        """Goes on to the next shelf, or to the next epoch's first; it is tokenised when it is needed."""
        before, following = self.at.before + len(self.shelf), self._present.following
        if following is None:
            self.at = Position(self.at.epoch + 1, whole=before)
        else:
            self.at = replace(self.at, shelf=self.at.shelf + 1, document=following, block=0, before=before)


def open_stream(
    subject: Subject,
    text: str | None,
    sites: Sequence[Site],
    *,
    context: int,
    seed: int,
    device: torch.device | str = "cpu",
    group: Alone | None = None,
) -> Stream:
    """The activations of the train split of `text` (as in `data.texts.documents`) at `sites`, waiting on `device`.

    `context` is the tokens in a block, prefix included. Raises `Mistake` on an unknown site or a text without tokens.
    """
    for site in sites:
        subject.check(site)
    return Stream(subject, _text(subject, text, context), sites, seed=seed, device=device, group=group)


def calibration_blocks(stream: Stream, tokens: int) -> Blocks:
    """Blocks of about `tokens` tokens of the calibration split; where it has fewer, the rest is training text.

    They are drawn from its beginning, `DRAWN` times as much as is needed. Training text is the end of the first epoch's
    first shelf, which training reaches late or not at all; `Blocks.document` tells which is which.
    """
    pool = stream.text.blocks("calibration", limit=DRAWN * tokens)
    chosen = pool[np.random.default_rng(stream.seed).permutation(len(pool))].first(tokens)
    missing = tokens - chosen.tokens_without_prefix
    if missing <= 0:
        return chosen
    beginning = stream.text.shelf().blocks
    order = order_of(beginning, np.random.default_rng([stream.seed, 0, 0]))
    return chosen + beginning[order[::-1]].first(missing)


def heldout_blocks(subject: Subject, text: str | None, *, context: int) -> Blocks:
    """The held-out split of `text`, or its first documents that have `HELDOUT` tokens."""
    return _text(subject, text, context).blocks("heldout", limit=HELDOUT)


def _text(subject: Subject, path: str | None, context: int) -> Text:
    return Text(path, subject.tokenizer, context, subject.prefix)
