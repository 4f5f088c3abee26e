"""What a model loses when something stands in for its own values at a site.

1. `Clean` keeps the values of a few blocks at all sites, as the untouched model has them.
2. `effects` reconstructs from these *clean* values and puts the result in the model's place, at one written site at a
   time: for an SAE the ordinary splice, and for a transcoder or a crosscoder a number that means the same. Tokens
   that are no text, or massive at a site which the dictionary reads or writes, keep their own values.
3. The model runs on from there. Two sums over the tokens whose next token is known: its cross-entropy, and
   KL(clean || spliced) between the two predictions (Kullback & Leibler 1951).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from data.models import Subject
from data.texts import Blocks
from data.words import Site
from training.stream import real


@runtime_checkable
class Reconstruction(Protocol):
    """Anything that says what stands at `writes`, given what stands at `reads`.

    Values of several sites lie side by side along the last axis, in the order of the sites. An SAE reads and writes
    one site, a transcoder writes another one, a crosscoder reads and writes several.
    """

    @property
    def reads(self) -> tuple[Site, ...]: ...
    @property
    def writes(self) -> tuple[Site, ...]: ...
    def encode(self, x: Float[Tensor, "tokens read"], /) -> Float[Tensor, "tokens d_sae"]: ...
    def reconstruct(self, x: Float[Tensor, "tokens read"], /) -> Float[Tensor, "tokens written"]: ...


@dataclass(frozen=True)
class Constant:
    """Always `value` [d_model] at the one site it writes: an ablation, without latents. It is put where something that
    reads `reads` would be."""

    reads: tuple[Site, ...]
    writes: tuple[Site, ...]
    value: Tensor

    def encode(self, x: Float[Tensor, "tokens read"]) -> Float[Tensor, "tokens d_sae"]:
        """No latents: an axis of length 0."""
        return x[:, :0]

    def reconstruct(self, x: Float[Tensor, "tokens read"]) -> Float[Tensor, "tokens d_model"]:
        """`value` for every token."""
        return self.value.to(x).expand(len(x), -1)


@dataclass(frozen=True)
class Clean:
    """A few blocks and what the untouched model has at `sites`, in its own precision."""

    blocks: Blocks
    sites: tuple[Site, ...]
    values: Float[Tensor, "site batch pos d_model"]
    ordinary: Bool[Tensor, "site batch pos"]
    """Which tokens are text and not massive at each site."""

    def kept(self, sites: Iterable[Site]) -> Bool[Tensor, "batch pos"]:
        """The tokens that are ordinary at all of `sites`."""
        return self.ordinary[[self.sites.index(site) for site in sites]].all(dim=0)

    def at(self, site: Site) -> Float[Tensor, "batch pos d_model"]:
        """The values at one site."""
        return self.values[self.sites.index(site)]

    def edited(self, stand_in: Reconstruction) -> Iterator[tuple[Site, Float[Tensor, "batch pos d_model"]]]:
        """The values at each site that `stand_in` writes, with what it says in place of those of the ordinary tokens."""
        kept = self.kept({*stand_in.reads, *stand_in.writes})
        x = torch.cat([self.at(site)[kept] for site in stand_in.reads], dim=-1).float()
        told = stand_in.reconstruct(x).chunk(len(stand_in.writes), dim=-1)
        for site, rows in zip(stand_in.writes, told, strict=True):
            value = self.at(site).clone()
            value[kept] = rows.to(value.dtype)
            yield site, value


@dataclass(frozen=True)
class Effect:
    """Sums over predictions, by block or by document, in nats: cross-entropy `loss`, and `kl` from the clean model."""

    loss: np.ndarray
    kl: np.ndarray


@dataclass(frozen=True)
class Effects:
    """The untouched model's `clean` sums, and those of each stand-in at each site it writes."""

    clean: Effect
    of: list[dict[Site, Effect]]


@torch.no_grad()
def effects(subject: Subject, clean: Clean, stand_ins: Sequence[Reconstruction]) -> Effects:
    """What each of `stand_ins` does to the predictions on the blocks of `clean`, at each written site separately."""
    deepest = max(clean.sites)
    untouched = run_on(subject, clean.blocks, deepest, clean.at(deepest))
    found = [
        {
            site: compare(clean.blocks, untouched, run_on(subject, clean.blocks, site, value))
            for site, value in clean.edited(stand_in)
        }
        for stand_in in stand_ins
    ]
    return Effects(compare(clean.blocks, untouched, untouched), found)


def run_on(
    subject: Subject, blocks: Blocks, site: Site, value: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch pos vocab"]:
    """Logits given `value` at `site`; the pass begins there where it can."""
    tokens, value = torch.from_numpy(blocks.tokens), value.to(subject.device)
    if site.kind in ("resid_pre", "resid_post"):
        logits = subject.run(tokens, start=(site, value))
    else:
        logits = subject.run(tokens, edits={site: lambda _: value})
    assert logits is not None  # only a pass with `stop` gives none
    return logits


def predicted(blocks: Blocks) -> Bool[Tensor, "batch before"]:
    """Which positions (the last one left out) are text and have text next."""
    return real(blocks)[:, :-1] & real(blocks)[:, 1:]


def compare(
    blocks: Blocks, clean: Float[Tensor, "batch pos vocab"], logits: Float[Tensor, "batch pos vocab"]
) -> Effect:
    """Cross-entropy of `logits` and their divergence from `clean`, summed over each block's predictions."""
    loss, kl = [], []
    for row, counted in enumerate(predicted(blocks)):  # a block at a time: log-probabilities of all take 100 MB
        following = torch.from_numpy(blocks.tokens[row, 1:])[counted].to(logits.device)
        told = logits[row, :-1][counted].float().log_softmax(dim=-1)
        truth = clean[row, :-1][counted].float().log_softmax(dim=-1)
        loss.append(functional.nll_loss(told, following, reduction="sum").item())
        kl.append(functional.kl_div(told, truth, log_target=True, reduction="sum").item())
    return Effect(np.array(loss), np.array(kl))
