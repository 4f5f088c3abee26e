"""What a model loses when something stands in for its own values at a site.

1. `Clean` keeps the values of a few blocks at all sites, as the untouched model has them.
2. `effects` reconstructs from these *clean* values and puts the result in the model's place, at one written site at a
   time: for an SAE the ordinary splice, and for a transcoder or a crosscoder a number that means the same. Tokens
   that are no text (prefix, padding, massive ones) keep their own values.
3. The model runs on from there. Two sums over the tokens whose next token is known: its cross-entropy, and
   KL(clean || spliced) between the two predictions (Kullback & Leibler 1951).
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Always `value` [d_model] at `site`: an ablation. It has no latents."""

    site: Site
    value: Tensor

    @property
    def reads(self) -> tuple[Site, ...]:
        return (self.site,)

    writes = reads

    def encode(self, x: Float[Tensor, "tokens d_model"]) -> Float[Tensor, "tokens d_sae"]:
        """No latents: an axis of length 0."""
        return x[:, :0]

    def reconstruct(self, x: Float[Tensor, "tokens d_model"]) -> Float[Tensor, "tokens d_model"]:
        """`value` for every token."""
        return self.value.to(x).expand_as(x)


@dataclass(frozen=True)
class Clean:
    """A few blocks and what the untouched model has at `sites`, in its own precision."""

    blocks: Blocks
    sites: tuple[Site, ...]
    values: Float[Tensor, "site batch pos d_model"]
    kept: Bool[Tensor, "batch pos"]
    """The ordinary tokens: where something may stand in."""

    def rows(self, sites: Sequence[Site]) -> Float[Tensor, "tokens width"]:
        """The values of the ordinary tokens at `sites`, side by side, in fp32."""
        return torch.cat([self.at(site)[self.kept] for site in sites], dim=-1).float()

    def at(self, site: Site) -> Float[Tensor, "batch pos d_model"]:
        """The values at one site."""
        return self.values[self.sites.index(site)]

    def edited(self, site: Site, rows: Float[Tensor, "tokens d_model"]) -> Float[Tensor, "batch pos d_model"]:
        """The values at `site` with `rows` in place of those of the ordinary tokens."""
        value = self.at(site).clone()
        value[self.kept] = rows.to(value.dtype)
        return value


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
            site: compare(clean.blocks, untouched, run_on(subject, clean.blocks, site, clean.edited(site, rows)))
            for site, rows in _written(clean, stand_in).items()
        }
        for stand_in in stand_ins
    ]
    return Effects(compare(clean.blocks, untouched, untouched), found)


def _written(clean: Clean, stand_in: Reconstruction) -> dict[Site, Float[Tensor, "tokens d_model"]]:
    """What `stand_in` says of each site it writes."""
    rows = stand_in.reconstruct(clean.rows(stand_in.reads))
    return dict(zip(stand_in.writes, rows.chunk(len(stand_in.writes), dim=-1), strict=True))


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
