"""Which next tokens become more or less likely when a feature is steered.

1. A few passages of the `explain` half are drawn by the seed, the same for all features.
2. The feature's decoder direction is added at the last token of each, as much of it as moves the next token by a stated
   number of nats (`steering.py`), so that features are compared at one strength.
3. The change of the next token's log-probabilities is averaged over the passages: the TokenChange of Gur-Arieh et al. 2025
   (arXiv:2501.08319, section 3.1), there at a fixed multiple of the activation.
4. Of the tokens that the harvest met at least `SEEN` times, those that gain and those that lose most are listed; the
   others' unembeddings point anywhere, and would fill the lists.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from autointerp.cases import Case
from autointerp.examples import Reader
from autointerp.statistics import SEEN
from autointerp.steering import Prompts, Steered, Subjects, strengths
from data.errors import Mistake
from data.store import Workspace
from data.words import digest

LENGTH = 16
"""Tokens of a passage, the model's prefix not among them."""
TOP = 30


@dataclass(frozen=True)
class Change:
    """Tokens as spelled, each with the mean change of its log-probability in nats: the most raised, the most lowered."""

    up: list[list[Any]]
    down: list[list[Any]]


class Steering:
    """Steers features of a workspace's dictionaries in `contexts` passages, each to a strength of `kl` nats."""

    def __init__(self, workspace: Workspace, contexts: int, kl: float, seed: int) -> None:
        self._subjects = Subjects(workspace)
        self._contexts, self._kl, self._seed = contexts, kl, seed
        self._places: dict[str, tuple[Prompts, Tensor]] = {}

    def changes(self, cases: Sequence[Case]) -> Iterator[Change | None]:
        """The change that each case's feature makes; None where no amount of it reaches the strength."""
        found: dict[Any, Change | None] = {}
        for dictionary in dict.fromkeys(case.feature.dictionary for case in cases):
            some = [case for case in cases if case.feature.dictionary == dictionary]
            found |= zip((c.feature for c in some), self._changes(dictionary, some), strict=True)
        yield from (found[case.feature] for case in cases)

    @torch.no_grad()
    def _changes(self, dictionary: str, cases: Sequence[Case]) -> Iterator[Change | None]:
        steered = self._subjects[dictionary]
        prompts, common = self._place(steered, cases[0].reader)
        along = steered.directions([case.feature.latent for case in cases])
        amounts = strengths(prompts, along, self._kl).amounts
        clean = prompts.next(torch.zeros_like(along[:1]))[0]
        for amount, direction in zip(amounts.tolist(), along, strict=True):
            changed = None if np.isnan(amount) else prompts.next(amount * direction[None])[0]
            yield None if changed is None else _listed((changed - clean).mean(0), common, steered)

    def _place(self, steered: Steered, reader: Reader) -> tuple[Prompts, Tensor]:
        """The passages as the dictionary's model reads them, and the tokens that are common; kept by dictionary."""
        if reader.dictionary not in self._places:
            ids = passages(reader, steered.subject.prefix, self._contexts, self._seed)
            prompts = Prompts(steered.subject, steered.site, torch.from_numpy(ids))
            counts = np.bincount(reader.texts.ids)
            self._places[reader.dictionary] = (
                prompts,
                torch.from_numpy(np.flatnonzero(counts >= min(SEEN, counts.max()))),
            )
        return self._places[reader.dictionary]


def passages(reader: Reader, prefix: Sequence[int], count: int, seed: int) -> np.ndarray:
    """At most `count` passages of the `explain` half, one a document, with the model's prefix: ids [passages, pos].

    Raises `Mistake` when every document is too short.
    """
    texts = reader.texts
    long = np.flatnonzero((texts.half == "explain") & (texts.length >= LENGTH))
    if not len(long):
        raise Mistake(f"No document of the explain half has {LENGTH} tokens to be steered in; harvest longer texts.")
    order = sorted(long.tolist(), key=functools.partial(digest, "passage", seed))[:count]
    draw = np.random.default_rng(seed)
    starts = [texts.begin[row] + draw.integers(0, texts.length[row] - LENGTH + 1) for row in order]
    return np.stack([[*prefix, *texts.ids[at : at + LENGTH].tolist()] for at in starts]).astype(np.int64)


def _listed(change: Float[Tensor, " vocab"], common: Tensor, steered: Steered) -> Change:
    values = change[common.to(change.device)]
    up, down = (values.topk(min(TOP, len(values)), largest=largest) for largest in (True, False))
    return Change(*(_named(found, common, steered) for found in (up, down)))


def _named(found: Any, common: Tensor, steered: Steered) -> list[list[Any]]:
    names = steered.subject.spell(common[found.indices.cpu()].tolist())
    return [[name, round(value, 4)] for name, value in zip(names, found.values.tolist(), strict=True)]
