"""A held-out set on the tiny model, and reconstructions to judge on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from data.models import Subject
from data.texts import Blocks, Document, blocks
from data.words import Site
from training.heldout import HeldOut, Size, hold_out

SITE = Site(0)
ALL = Size(described=10**9, spliced=10**9)
DOCUMENTS = 12
WORDS = ("The man near the cars walks here. ", "The keys to the cabinet are here. ", "The dogs by the tree sleep. ")


def text(subject: Subject) -> Blocks:
    """A dozen documents of one to three blocks of 20 tokens."""
    documents = [Document(i, WORDS[i % 3] * (2 + i % 4), "heldout") for i in range(DOCUMENTS)]
    return blocks(documents, subject.tokenizer, context=20, prefix=subject.prefix)


def held(subject: Subject, *sites: Site, size: Size = ALL, mean: float = 0.1) -> HeldOut:
    """The whole text at `sites`; mean ablation puts in `mean`, no token is massive."""
    sites = sites or (SITE,)
    means, limit = torch.full((len(sites), subject.d_model), mean), torch.full((len(sites),), 1e9)
    return hold_out(subject, text(subject), sites, mean=means, limit=limit, seed=0, size=size)


@dataclass(frozen=True)
class Made:
    """A reconstruction made of two functions."""

    encode: Callable[[Tensor], Tensor]
    reconstruct: Callable[[Tensor], Tensor]
    reads: tuple[Site, ...] = (SITE,)
    writes: tuple[Site, ...] = (SITE,)


def scaled(factor: float, *sites: Site) -> Made:
    """Everything times `factor`."""
    return Made(lambda x: x, lambda x: factor * x, sites or (SITE,), sites or (SITE,))


def relu(latents: int = 40, d_model: int = 32, seed: int = 0) -> Made:
    """A plain SAE with random weights, whose latent 7 never fires."""
    generator = torch.Generator().manual_seed(seed)
    reader = torch.randn(d_model, latents, generator=generator)
    writer = torch.randn(latents, d_model, generator=generator) * 0.05
    reader[:, 7] = 0

    def encode(x: Tensor) -> Tensor:
        return (x @ reader - 1).relu()

    return Made(encode, lambda x: encode(x) @ writer)
