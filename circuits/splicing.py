"""The splice's self-check on a real model, for `lacewing selftest`.

1. The model is opened if it is on this machine; nothing is downloaded.
2. Its newest dictionaries in the workspace are spliced in, or else random ones at three depths: a splice with errors kept
   must leave logits and gradients as they are, whatever the dictionary.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from circuits.problem import Problem
from circuits.splice import self_check
from data import tasks
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Site
from training.dictionary import Dictionary, dictionaries_of, load_dictionary

PAIRS = 4


@dataclass(frozen=True)
class Spliced:
    """What was spliced into `model`, and the largest differences; or why nothing was (`absent`), or what failed."""

    model: str
    dictionaries: str = ""
    sites: tuple[str, ...] = ()
    logits: float = 0.0
    gradients: float = 0.0
    absent: str = ""
    fault: str = ""

    def __str__(self) -> str:
        if self.absent:
            return f"No real model was spliced: {self.absent}"
        if self.fault:
            return f"{self.model}, {self.dictionaries} at {', '.join(self.sites)}: {self.fault}"
        return (
            f"{self.model}, {self.dictionaries} at {', '.join(self.sites)}: spliced and bare differ by "
            f"{self.logits:.1e} in logits and, relatively, {self.gradients:.1e} in gradients."
        )


@dataclass(frozen=True)
class Random:
    """A dictionary of random directions, which explains little: most of the stream stands in its error."""

    W_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor

    @classmethod
    def of(cls, width: int, latents: int, seed: int) -> Random:
        """`latents` unit directions of `width`."""
        generator = torch.Generator().manual_seed(seed)
        decoder = torch.nn.functional.normalize(torch.randn(latents, width, generator=generator), dim=1)
        return cls(decoder.T.clone(), decoder, 0.1 * torch.randn(width, generator=generator))

    def encode(self, x: Tensor) -> Tensor:
        """Coordinates [... latents] of `x` [... width]."""
        return torch.relu((x - self.b_dec) @ self.W_enc)

    def decode(self, f: Tensor) -> Tensor:
        """The value [... width] that `f` says."""
        return f @ self.W_dec + self.b_dec


def spliced(workspace: Workspace, name: str) -> Spliced:
    """The self-check of model `name`, with its dictionaries or with random ones."""
    try:
        with _without_network():
            subject = Subject.open(name)
        pairs = list(itertools.islice(tasks.pairs("agreement", subject.tokenize, prefix=subject.prefix, seed=0), PAIRS))
    except Mistake as mistake:
        return Spliced(name, absent=str(mistake))
    what, dictionaries = _dictionaries(workspace, subject)
    sites = tuple(map(str, dictionaries))
    try:
        check = self_check(Problem.of(subject, dictionaries, pairs))
    except Mistake as mistake:
        return Spliced(name, what, sites, fault=str(mistake).rstrip("."))
    return Spliced(name, what, sites, check.logits, max(check.gradients.values()))


def _dictionaries(workspace: Workspace, subject: Subject) -> tuple[str, Mapping[Site, Dictionary]]:
    known = dictionaries_of(workspace, subject.digest)
    if known:
        return "its dictionaries", {site: load_dictionary(workspace, digest) for site, digest in sorted(known.items())}
    depths = sorted({subject.layers * quarter // 4 for quarter in (1, 2, 3)})
    return "random dictionaries", {Site(layer): _random(subject, Site(layer)) for layer in depths}


def _random(subject: Subject, site: Site) -> Dictionary:
    latents = 2 * subject.d_model
    sae = Random.of(subject.d_model, latents, site.layer)
    return Dictionary(f"random-{site}", "random", subject.digest, site, latents, subject.d_model, sae)


@contextlib.contextmanager
def _without_network() -> Iterator[None]:
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before
