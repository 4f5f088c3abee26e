"""A latent's activation is changed in a running model, by a stated strength, and the model writes on.

1. The value at the dictionary's site is changed at the last token of each prompt and at every token written after it:
   `amount * W_dec[latent]` is added. Decoders are linear, so this is decode(f + amount) + error, the error being kept.
2. Strength is what the change does, not its size: KL(clean || changed) of the next token at the last token of the
   prompt, in nats, averaged over prompts (Paulo et al. 2024, arXiv:2410.13928, on intervention scoring). The amount that
   brings about a given strength is found by doubling and bisection, for several directions in the same passes.
3. Text is sampled with the same random numbers for every change, so that a change of nothing writes the clean text and
   differences are paired.

Tokens before the last are never changed, so their keys and values are read once and serve every pass.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from autointerp.harvest import precision
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Site
from training.dictionary import Dictionary, load_dictionary

STRENGTH = 0.5
"""Nats: the strength at which changes are compared, that of the paper's code."""
TOLERANCE = 0.05
"""How far, relatively, the strength that is reached may be from the one wanted."""
DOUBLINGS, BISECTIONS = 16, 20
FIRST = 2.0**-8
"""The first amount tried, in norms of the value at the site: far below what changes a prediction."""


@dataclass(frozen=True, eq=False)
class Strength:
    """For each direction, the amount that brings about the strength wanted (NaN: none does) and the strength reached."""

    amounts: Float[Tensor, " changes"]
    reached: Float[Tensor, " changes"]


class Prompts:
    """Prompts of one length, read once up to their last token; ids [prompts, pos] with the model's prefix in front."""

    @torch.no_grad()
    def __init__(self, subject: Subject, site: Site, ids: Int[Tensor, "prompts pos"]) -> None:
        if ids.shape[1] < 2:
            raise Mistake("A prompt that is to be steered needs two tokens or more, the model's prefix among them.")
        self.subject, self.site, self.ids = subject, site, ids.to(subject.device)
        before = subject.model(input_ids=self.ids[:, :-1], use_cache=True, logits_to_keep=1)
        self._cache = before.past_key_values

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, times: int) -> Any:
        """Keys and values of all tokens but the last, each prompt `times` in a row; a pass may write into them."""
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(times)
        return cache

    @functools.cached_property
    def norm(self) -> float:
        """The mean norm of the value at the site, at the prompts' last tokens."""
        return float(self.subject.read(self.ids, [self.site])[self.site][:, -1].float().norm(dim=-1).mean())

    @torch.no_grad()
    def next(self, changes: Float[Tensor, "changes width"]) -> Float[Tensor, "changes prompts vocab"]:
        """Log-probabilities of the next token of each prompt, with each of `changes` added at its last token."""
        last = self.ids[:, -1:].repeat_interleave(len(changes), 0)
        logits = self.step(last, self.rows(len(changes)), changes.repeat(len(self), 1))
        return logits.log_softmax(-1).unflatten(0, (len(self), len(changes))).transpose(0, 1)

    def step(
        self, tokens: Int[Tensor, "rows one"], cache: Any, changes: Float[Tensor, "rows width"]
    ) -> Float[Tensor, "rows vocab"]:
        """Logits after `tokens`, which go on from `cache`, with a change added at the site for each row."""
        with self.subject.hook(self.site, lambda x: x + changes[:, None].to(x)):
            out = self.subject.model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits[:, -1].float()


@dataclass(frozen=True, eq=False)
class Steered:
    """A dictionary and the model it is of."""

    subject: Subject
    dictionary: Dictionary

    @property
    def site(self) -> Site:
        """Where its latents are written."""
        return self.dictionary.writes[0]

    def directions(self, latents: Sequence[int]) -> Float[Tensor, "latents width"]:
        """The decoder rows of `latents`. Raises `Mistake` for a dictionary that writes several sites at once."""
        if len(self.dictionary.writes) > 1:
            raise Mistake(
                f"Dictionary {self.dictionary.digest} writes {len(self.dictionary.writes)} sites at once; a latent is "
                f"steered at one. Choose a dictionary of one site."
            )
        return self.dictionary.W_dec[list(latents)].float().to(self.subject.device)


class Subjects(dict[str, Steered]):
    """The dictionaries of a workspace with their models, by digest, each opened when first asked for.

    Raises `Mistake` when a dictionary or its model cannot be had.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._subjects: dict[str, Subject] = {}

    def __missing__(self, digest: str) -> Steered:
        dictionary = load_dictionary(self._workspace, digest)
        if dictionary.model not in self._subjects:
            self._subjects[dictionary.model] = subject_of(self._workspace, dictionary)
        self[digest] = Steered(self._subjects[dictionary.model], dictionary)
        return self[digest]


def subject_of(workspace: Workspace, dictionary: Dictionary) -> Subject:
    """The model that `dictionary` is of, opened by the name that its runs gave. Raises `Mistake` when it is another."""
    with workspace.read() as db:
        found = db.execute(
            "select r.config->>'model' from runs r where r.config->>'model' is not null and (r.run in "
            "(select run from dictionaries where dictionary = $1) or r.run in "
            "(select run from harvests where dictionary = $1)) order by r.started desc limit 1",
            [dictionary.digest],
        ).fetchall()
    if not found:
        raise Mistake(f"No run in this workspace says which model dictionary {dictionary.digest} is of. Harvest it.")
    subject = Subject.open(found[0][0], dtype=precision("auto"))
    if subject.digest != dictionary.model:
        raise Mistake(
            f"Dictionary {dictionary.digest} is of the model with digest {dictionary.model}, but {found[0][0]!r} has "
            f"{subject.digest} now: its files were changed. Put back those that the dictionary was trained on."
        )
    return subject


def divergence(
    clean: Float[Tensor, "prompts vocab"], changed: Float[Tensor, "changes prompts vocab"]
) -> Float[Tensor, "changes prompts"]:
    """KL(clean || changed) of log-probabilities, in nats."""
    return (clean.exp() * (clean - changed)).sum(-1)


def strengths(prompts: Prompts, along: Float[Tensor, "changes width"], target: float = STRENGTH) -> Strength:
    """How much of each direction brings the mean KL over `prompts` to `target`, within `TOLERANCE`."""
    clean = prompts.next(torch.zeros_like(along[:1]))[0]

    def strength(amounts: Tensor) -> Tensor:
        return divergence(clean, prompts.next(amounts[:, None] * along)).mean(-1).cpu()

    low, high = torch.zeros(len(along)), FIRST * prompts.norm / along.norm(dim=-1).clamp_min(1e-12).cpu()
    for _ in range(DOUBLINGS):
        short = strength(high) < target
        if not short.any():
            break
        low, high = torch.where(short, high, low), torch.where(short, 2 * high, high)
    return _bisected(strength, low, high, target)


def _bisected(strength: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, target: float) -> Strength:
    middle, reached = high, strength(high)
    for _ in range(BISECTIONS):
        missed = (reached - target).abs() > TOLERANCE * target
        if not missed.any():
            break
        low, high = torch.where(reached < target, middle, low), torch.where(reached < target, high, middle)
        middle = (low + high) / 2
        reached = strength(middle)
    missed = (reached - target).abs() > TOLERANCE * target
    return Strength(middle.masked_fill(missed, math.nan), reached)


@torch.no_grad()
def write(
    prompts: Prompts,
    changes: Float[Tensor, "changes width"],
    *,
    tokens: int,
    samples: int,
    seed: int,
    temperature: float = 1.0,
) -> Int[Tensor, "changes prompts samples tokens"]:
    """What the model writes after each prompt under each change, `samples` times; greedily at temperature 0."""
    shape = (len(prompts), samples, len(changes))
    rows = changes.repeat(len(prompts) * samples, 1)
    cache, last = prompts.rows(samples * len(changes)), prompts.ids[:, -1:].repeat_interleave(samples * len(changes), 0)
    draw = torch.Generator().manual_seed(seed)
    written: list[Tensor] = []
    for _ in range(tokens):
        logits = prompts.step(last, cache, rows).unflatten(0, shape)
        last = _drawn(logits, temperature, draw).flatten()[:, None]
        written.append(last)
    return torch.cat(written, 1).unflatten(0, shape).permute(2, 0, 1, 3).cpu()


def _drawn(logits: Tensor, temperature: float, draw: torch.Generator) -> Tensor:
    """A token for each row, by the Gumbel trick with noise that all changes of a prompt and sample share."""
    if not temperature:
        return logits.argmax(-1)
    uniform = torch.rand(*logits.shape[:2], 1, logits.shape[-1], generator=draw).clamp_min(1e-20)
    return (logits / temperature - uniform.log().neg().log().to(logits.device)).argmax(-1)
