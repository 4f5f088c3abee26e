"""A problem: a model, dictionaries at sites, and aligned prompt pairs.

1. `gather` draws pairs of a task, keeps those that the model gets right both ways, and splits them: one half for
   discovery, the other held out. No prompt is in both.
2. `Problem` holds the token tensors and what the model does at every spliced site on both prompts of each pair.

The metric of a pair is the logit difference at the last token, `logit(answer) - logit(counter_answer)`: positive on the
clean prompt, negative on the counterfactual (arXiv 2309.16042 on why logits and not probabilities).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from data import tasks
from data.errors import Mistake
from data.models import Model, Subject
from data.words import Pair, Site
from training.dictionary import Dictionary


@dataclass(frozen=True)
class SiteState:
    """What one site does on clean and counterfactual prompts: `x` [batch pos d_model], latents `f`, error `e`."""

    x: Tensor
    x_patch: Tensor
    f: Tensor
    f_patch: Tensor
    e: Tensor
    e_patch: Tensor

    @property
    def latent_change(self) -> Float[Tensor, "batch pos d_sae"]:
        """Clean minus counterfactual."""
        return self.f - self.f_patch

    @property
    def error_change(self) -> Float[Tensor, "batch pos d_model"]:
        return self.e - self.e_patch


@dataclass(frozen=True, eq=False)
class Problem:
    """Aligned prompt pairs for one model with dictionaries at sites; see the module."""

    model: Model
    dictionaries: Mapping[Site, Dictionary]
    clean: Int[Tensor, "batch pos"]
    patch: Int[Tensor, "batch pos"]
    answers: Int[Tensor, " batch"]
    counter_answers: Int[Tensor, " batch"]
    roles: tuple[str, ...]
    batch: int = 32

    @classmethod
    def of(
        cls, model: Model, dictionaries: Mapping[Site, Dictionary], pairs: Sequence[Pair], batch: int = 32
    ) -> Problem:
        """The problem of `pairs`, which all have the same roles. Raises `Mistake` when they do not."""
        roles = {pair.roles for pair in pairs}
        if len(roles) != 1:
            raise Mistake(f"A problem needs pairs of one shape; these have {len(roles)} different lists of roles.")
        return cls(
            model,
            dict(sorted(dictionaries.items())),
            torch.tensor([p.clean for p in pairs]),
            torch.tensor([p.counterfactual for p in pairs]),
            torch.tensor([p.answer for p in pairs]),
            torch.tensor([p.counter_answer for p in pairs]),
            roles.pop(),
            batch,
        )

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(self.dictionaries)

    @property
    def positions(self) -> int:
        return self.clean.shape[1]

    def rows(self, start: int, end: int) -> Problem:
        """The pairs from `start` to `end`."""
        cut = slice(start, end)
        return replace(
            self,
            clean=self.clean[cut],
            patch=self.patch[cut],
            answers=self.answers[cut],
            counter_answers=self.counter_answers[cut],
        )

    def batches(self) -> Iterator[Problem]:
        """The same problem in pieces of at most `batch` pairs."""
        for start in range(0, len(self), self.batch):
            yield self.rows(start, start + self.batch)

    def metric(self, logits: Float[Tensor, "rows pos vocab"], rows: Tensor | None = None) -> Float[Tensor, " rows"]:
        """Logit difference at the last token; `rows` says which pair each row of `logits` belongs to."""
        answers, counters = self.answers, self.counter_answers
        if rows is not None:
            answers, counters = answers[rows], counters[rows]
        last = logits[:, -1].float()
        return (last.gather(1, answers[:, None]) - last.gather(1, counters[:, None])).squeeze(1)

    @functools.cached_property
    def states(self) -> dict[Site, SiteState]:
        """Every site on both prompts of every pair."""
        pieces = [_read(piece) for piece in self.batches()]
        return {site: _join([piece[site] for piece in pieces]) for site in self.sites}

    @functools.cached_property
    def clean_metric(self) -> Float[Tensor, " batch"]:
        return torch.cat([_score(piece, piece.clean) for piece in self.batches()])

    @functools.cached_property
    def patch_metric(self) -> Float[Tensor, " batch"]:
        return torch.cat([_score(piece, piece.patch) for piece in self.batches()])

    @property
    def total_effect(self) -> float:
        """Mean clean minus mean counterfactual metric: what all nodes of a site carry together."""
        return float((self.clean_metric - self.patch_metric).mean())


@torch.no_grad()
def _score(problem: Problem, tokens: Tensor) -> Tensor:
    logits = problem.model.run(tokens, last_only=True)
    assert logits is not None
    return problem.metric(logits)


@torch.no_grad()
def _read(problem: Problem) -> dict[Site, SiteState]:
    clean, patch = (_values(problem, tokens) for tokens in (problem.clean, problem.patch))
    return {site: _state(problem.dictionaries[site], clean[site], patch[site]) for site in problem.sites}


def _values(problem: Problem, tokens: Tensor) -> dict[Site, Tensor]:
    values: dict[Site, Tensor] = {}
    edits = {site: functools.partial(values.__setitem__, site) for site in problem.sites}
    problem.model.run(tokens, edits=edits, stop=max(problem.sites))
    return values


def _state(dictionary: Dictionary, x: Tensor, x_patch: Tensor) -> SiteState:
    x, x_patch = x.float(), x_patch.float()
    f, f_patch = dictionary.encode(x), dictionary.encode(x_patch)
    return SiteState(x, x_patch, f, f_patch, x - dictionary.decode(f), x_patch - dictionary.decode(f_patch))


def _join(states: Sequence[SiteState]) -> SiteState:
    return SiteState(*(torch.cat([getattr(s, name) for s in states]) for name in SiteState.__dataclass_fields__))


@dataclass(frozen=True)
class Gathered:
    """The pairs of a task: `discovery` and `heldout`, how many were `tried`, and the share `accuracy` right both ways."""

    discovery: tuple[Pair, ...]
    heldout: tuple[Pair, ...]
    tried: int
    accuracy: float


def gather(subject: Subject, task: str, wanted: int, *, seed: int, batch: int = 32) -> Gathered:
    """`wanted` pairs that the model gets right both ways. Raises `Mistake` when it gets too few of them right."""
    source = tasks.pairs(task, subject.tokenize, prefix=subject.prefix, seed=seed)
    kept: list[Pair] = []
    tried = right = 0
    for chunk in _chunks(source, batch):
        good = _right(subject, chunk)
        tried += len(chunk)
        right += sum(good)
        kept += [pair for pair, fine in zip(chunk, good, strict=True) if fine]
        if len(kept) >= wanted or (tried >= 8 * wanted + 64):
            break
    if len(kept) < wanted:
        raise Mistake(
            f"{subject.name} gets {right} of {tried} pairs of the task {task!r} right "
            f"({100 * right / max(tried, 1):.0f} %), which leaves fewer than the {wanted} asked for. "
            f"Ask for fewer with --pairs, or choose a task or model that it can do."
        )
    half = wanted // 2
    return Gathered(tuple(kept[:half]), tuple(kept[half:wanted]), tried, right / tried)


def _right(subject: Subject, pairs: Sequence[Pair]) -> list[bool]:
    """Whether the model prefers the right answer on both prompts of each pair."""
    problem = Problem.of(subject, {}, pairs, batch=len(pairs))
    return ((problem.clean_metric > 0) & (problem.patch_metric < 0)).tolist()


def _chunks(pairs: Iterable[Pair], size: int) -> Iterator[list[Pair]]:
    source = iter(pairs)
    while chunk := list(itertools.islice(source, size)):
        yield chunk
