"""The held-out set of a run: documents that no dictionary is trained on, read once.

1. `sample` picks blocks of the held-out split in rounds over documents, so that few tokens come from many documents.
2. The subject reads them. The values of their ordinary tokens (no prefix, padding, special or massive ones) are kept in
   fp32: on these, reconstructions are compared.
3. Of the first blocks all values are kept: into these reconstructions are spliced. What the untouched model loses there
   is measured once, and so is what it loses with the mean or with zero at a site, when it is first asked for.

The same set serves while training (a subject in bf16) and at the end (in fp32); all dictionaries see the same tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from data.errors import Mistake
from data.models import Subject
from data.texts import Blocks
from data.words import Site
from training.splicing import Clean, Constant, Effect, Reconstruction, effects, predicted
from training.stream import real

PASS = 4
"""Blocks in a pass with logits: 4 x 128 x 49152 of them take 100 MB, twice over."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Size:
    """How much text an evaluation takes."""

    described: int = 8_192
    """Tokens on which reconstructions are compared."""
    spliced: int = 2_048
    """Of these, tokens on which the model's loss is measured: each costs a pass from the site on, per dictionary."""


@dataclass(frozen=True)
class Ablation:
    """Cross-entropy of each spliced document [document] with a site's mean, or with zero, in its place."""

    mean: np.ndarray
    zero: np.ndarray


@dataclass(frozen=True)
class HeldOut:
    """Held-out text as the subject reads it; `rows` hold the values of its ordinary tokens, in fp32."""

    subject: Subject
    sites: tuple[Site, ...]
    rows: Float[Tensor, "tokens site d_model"]
    document: np.ndarray
    """[tokens] the document of each row."""
    clean: tuple[Clean, ...]
    """The passes into which reconstructions are spliced."""
    loss: np.ndarray
    """[document] cross-entropy of the untouched model on the spliced documents, in nats."""
    mean: Float[Tensor, "site d_model"]
    """What mean ablation puts in."""
    _ablated: dict[tuple[frozenset[Site], Site], Ablation] = field(default_factory=dict, repr=False)

    def at(self, sites: Sequence[Site]) -> Float[Tensor, "tokens width"]:
        """The values at `sites`, side by side."""
        return beside(self.rows, [self.sites.index(site) for site in sites])

    @functools.cached_property
    def index(self) -> Int[Tensor, " tokens"]:
        """Each row's place among the documents."""
        return torch.from_numpy(np.unique(self.document, return_inverse=True)[1])

    @property
    def documents(self) -> int:
        """How many documents the rows are from."""
        return int(self.index.max()) + 1

    @functools.cached_property
    def predictions(self) -> np.ndarray:
        """[document] tokens of the spliced documents whose next token is predicted."""
        return by_document(self.clean, [predicted(part.blocks).sum(dim=1).numpy() for part in self.clean])

    @property
    def spliced_tokens(self) -> int:
        """Tokens of the blocks spliced into."""
        return sum(part.blocks.tokens_without_prefix for part in self.clean)

    def ablated(self, dictionary: Reconstruction) -> dict[Site, Ablation]:
        """What the model loses with each site that `dictionary` writes ablated, at the tokens where it stands in."""
        among = frozenset({*dictionary.reads, *dictionary.writes})
        for site in dictionary.writes:
            if (among, site) not in self._ablated:
                self._ablated[among, site] = self._ablate(tuple(sorted(among)), site)
        return {site: self._ablated[among, site] for site in dictionary.writes}

    def _ablate(self, among: tuple[Site, ...], site: Site) -> Ablation:
        mean = self.mean[self.sites.index(site)]
        constants = [Constant(among, (site,), value) for value in (mean, torch.zeros_like(mean))]
        return Ablation(*(effect[site].loss for effect in self.effects(constants)))

    def effects(self, stand_ins: Sequence[Reconstruction]) -> list[dict[Site, Effect]]:
        """What each stand-in does to the model at each site it writes; sums over each spliced document."""
        found = [effects(self.subject, part, stand_ins) for part in self.clean]
        return [
            {site: _total(self.clean, [part.of[index][site] for part in found]) for site in stand_in.writes}
            for index, stand_in in enumerate(stand_ins)
        ]


def hold_out(
    subject: Subject,
    blocks: Blocks,
    sites: tuple[Site, ...],
    *,
    mean: Float[Tensor, "site d_model"],
    limit: Float[Tensor, " site"],
    seed: int,
    size: Size = Size(),
    device: torch.device | str = "cpu",
    progress: Progress = lambda *_: None,
) -> HeldOut:
    """Reads the held-out `blocks` at `sites`.

    `mean` is what mean ablation puts in (of training text). A token whose norm is beyond `limit` at a site is massive
    there: rows hold those that are so at no site. The values wait on `device`, where the dictionaries judged on them must
    be. Raises `Mistake` when there is no block.
    """
    chosen = sample(blocks, size.described, seed)
    spliced = len(sample(blocks, size.spliced, seed))  # the same order, so these are the first of `chosen`
    clean, rows, documents = [], [], []
    for part in _parts(spliced, len(chosen)):
        read = _read(subject, chosen[part], sites, limit.to(device))
        clean += [read] if part.start < spliced else []
        kept = read.kept(sites)
        rows.append(read.values[:, kept].transpose(0, 1).float())
        documents.append(np.broadcast_to(read.blocks.document[:, None], kept.shape)[kept.cpu().numpy()])
        progress("reading held-out text", part.stop, len(chosen))
    loss = by_document(clean, [effects(subject, part, []).clean.loss for part in clean])
    return HeldOut(subject, sites, torch.cat(rows), np.concatenate(documents), tuple(clean), loss, mean)


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


def beside(rows: Float[Tensor, "tokens site d_model"], sites: Sequence[int]) -> Float[Tensor, "tokens width"]:
    """The values at some of the sites, side by side."""
    return rows[:, list(sites)].flatten(start_dim=1)


def by_document(clean: Sequence[Clean], values: Sequence[np.ndarray]) -> np.ndarray:
    """Sums over each document of values by block."""
    _, index = np.unique(np.concatenate([part.blocks.document for part in clean]), return_inverse=True)
    return np.bincount(index, weights=np.concatenate(values))


def _parts(spliced: int, total: int) -> Iterator[slice]:
    """Passes of at most `PASS` blocks, none of which is partly spliced into."""
    for first, last in ((0, spliced), (spliced, total)):
        for start in range(first, last, PASS):
            yield slice(start, min(start + PASS, last))


@torch.no_grad()
def _read(subject: Subject, blocks: Blocks, sites: tuple[Site, ...], limit: Tensor) -> Clean:
    found = subject.read(torch.from_numpy(blocks.tokens), sites)
    values = torch.stack([found[site] for site in sites]).to(limit.device)
    small = values.float().norm(dim=-1) <= limit[:, None, None]
    return Clean(blocks, sites, values, small & real(blocks).to(values.device))


def _total(clean: Sequence[Clean], parts: Sequence[Effect]) -> Effect:
    return Effect(by_document(clean, [p.loss for p in parts]), by_document(clean, [p.kl for p in parts]))
