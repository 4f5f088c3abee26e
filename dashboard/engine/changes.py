"""Features changed in a running model: what is added to the stream, at which tokens, for each row of a batch.

1. A `Push` changes one feature: `add` its activation by an amount, `clamp` it to one, `scale` it, or `ablate` it (scale by
   0). Decoders are linear, so that is (new activation - own activation) along its decoder row; the error stays what it is.
2. Its own activation is that of the row, encoded from the stream as it arrives: what was changed at earlier sites shows.
3. A row may take another direction of the same norm in the feature's place: the same change, made to something else.
4. Reached are the tokens from `start` on, the prefix never.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from data.errors import Mistake, unknown
from data.models import Subject
from data.words import Feature, Site
from training.dictionary import Dictionary

WAYS = {"add": "an amount", "clamp": "a value", "scale": "a factor", "ablate": ""}
"""What can be done to a feature, and what its amount is."""


@dataclass(frozen=True, eq=False)
class Push:
    """What is done to one feature; `along` [rows d_model] is the direction that each row is moved in, 0 for none."""

    feature: Feature
    dictionary: Dictionary
    does: str
    amount: float
    along: Float[Tensor, "rows d_model"]

    @property
    def site(self) -> Site:
        return self.dictionary.writes[0]

    def by(self, x: Float[Tensor, "rows pos d_model"]) -> Float[Tensor, "rows pos"]:
        """How much is added to the feature's activation at each place."""
        if self.does == "add":
            return torch.full((x.shape[0], x.shape[1]), self.amount)
        own = self.activation(x)
        return self.amount - own if self.does == "clamp" else (self._factor - 1) * own

    def activation(self, x: Float[Tensor, "rows pos d_model"]) -> Float[Tensor, "rows pos"]:
        """The feature's activation at each place, one row after another: a wide dictionary's latents are many."""
        return torch.stack([self.dictionary.encode(row)[:, self.feature.latent] for row in x])

    @property
    def _factor(self) -> float:
        return 0.0 if self.does == "ablate" else self.amount


def check(does: str, feature: Feature, dictionary: Dictionary) -> None:
    """Raises `Mistake` when `does` is no way, or cannot be done to a feature of this dictionary."""
    if does not in WAYS:
        raise unknown("way to change a feature", does, WAYS)
    if feature.latent >= dictionary.latents:
        raise Mistake(f"Dictionary {dictionary.digest} has {dictionary.latents} latents; there is no {feature.latent}.")
    if len(dictionary.writes) > 1:
        raise Mistake(
            f"Dictionary {dictionary.digest} writes {len(dictionary.writes)} sites at once; a feature is steered at one. "
            f"Choose a dictionary of one site."
        )
    if not dictionary.plain and does != "add":
        raise Mistake(
            f"Dictionary {dictionary.digest} reads {', '.join(map(str, dictionary.reads))} and writes "
            f"{', '.join(map(str, dictionary.writes))}: its features can be added to here, and nothing else."
        )


class Pushed:
    """A model in which pushes are made, from token `start` on, in passes that go on from one another."""

    def __init__(self, subject: Subject, pushes: Sequence[Push], start: int) -> None:
        self.subject, self.pushes, self.start = subject, pushes, start
        self.passed = 0
        """Tokens of the passes before: a pass over a cache begins there."""

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While it lasts, every pass of the model is pushed."""
        with contextlib.ExitStack() as stack:
            for site in sorted({push.site for push in self.pushes}):
                mine = [push for push in self.pushes if push.site == site]
                stack.enter_context(self.subject.hook(site, lambda x, mine=mine: self._edited(x, mine)))
            yield

    def _edited(self, x: Float[Tensor, "rows pos d_model"], pushes: Sequence[Push]) -> Tensor:
        place = torch.arange(self.passed, self.passed + x.shape[1])
        reached = (place >= self.start).float()
        value = x.float().cpu()
        moved = torch.zeros_like(value)
        for push in pushes:
            moved += (push.by(value) * reached)[..., None] * push.along[:, None]
        return x + moved.to(x)
