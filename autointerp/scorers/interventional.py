"""Judges a feature by interchange: when it takes its value from a prompt with another concept, does the answer follow?

The interventional mode of Huang et al. 2023 (*Rigorously Assessing Natural Language Explanations of Neurons*,
arXiv:2309.10312), in a form of our own:

1. The pairs are those of a task (`data/tasks`) that the model gets right both ways; their prompts differ in one concept
   (singular and plural, two names) and have the same roles token by token.
2. At every token the latent's activation is replaced by the one it has in the other prompt of the pair; all else at the
   site, the dictionary's error included, is kept: x + (f_counterfactual - f_clean) W_dec[latent].
3. The score is interchange accuracy: the share of pairs in which the other prompt's answer is now preferred. It is 0 for a
   latent that does nothing.
4. The control is the mean over random latents of the site, each with another value in the two prompts of some pair: as
   able to make a difference as the feature, but picked without regard to the concept.

**The text is not read.** What this says is whether the feature carries the task's concept in the model's computation. It
speaks for an explanation that names this concept, and for no other; so the task has to be chosen with the explanation in
mind, and a swapped text would be no control. `details` also has the share of the logit difference that moves (a single
latent seldom turns an answer), exact bounds of the accuracy (Clopper and Pearson 1934: a bootstrap of none in 24 is sure of
what nobody can know), and the accuracy when all latents of the site are interchanged, which is what the site can do.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from autointerp.bootstrap import estimate, weights
from autointerp.judgements import Outcome, Question
from autointerp.measures import bounds
from autointerp.scorers.intervention import Unsteered, nothing
from autointerp.steering import Steered, Subjects
from autointerp.tools import Tools
from data import tasks
from data.errors import Mistake
from data.models import Subject
from data.words import Pair

NEEDS_ENDPOINT = False
CALIBRATED = False
NEEDS_SUBJECT = True
LEAST = 8
"""Pairs below which there is no score."""
TRIED = 8
"""Pairs tried for each one wanted: the model gets some wrong, and in some the prompts differ in length."""


@dataclass(frozen=True)
class Options:
    """Which task, and how much of it."""

    task: str = "agreement"
    """The behaviour whose concept the explanation names: a file of data/tasks, or a .jsonl or .csv file of pairs."""
    pairs: int = 48
    """Pairs that are interchanged."""
    random: int = 12
    """Random latents of the same site, as a control."""

    def __post_init__(self) -> None:
        if self.pairs < LEAST or self.random < 0:
            raise Mistake(f"pairs is {self.pairs} and random {self.random}; at least {LEAST} and 0 are needed.")


@dataclass(frozen=True, eq=False)
class Effect:
    """What an interchange does to each pair."""

    followed: Bool[np.ndarray, " pairs"]
    """Whether the other prompt's answer is preferred."""
    moved: Float[np.ndarray, " pairs"]
    """The share of the way that the logit difference goes from the clean prompt to the other."""


def judge(questions: Sequence[Question], tools: Tools, options: Options) -> Iterator[Outcome]:
    """One outcome a question, in order."""
    tasks.check(options.task)
    steered = Subjects(tools.workspace)
    bench = functools.cache(lambda digest: _bench(steered[digest], options, tools.seed))
    for question in questions:
        try:
            yield _outcome(question, bench, options, tools.seed)
        except Unsteered as reason:
            yield nothing(str(reason))
        tools.advance()


def _bench(steered: Steered, options: Options, seed: int) -> Bench | Unsteered:
    """The bench of a dictionary, or why there is none."""
    try:
        return Bench(steered, options, seed)
    except Unsteered as reason:
        return reason


def _outcome(question: Question, bench: Callable[[str], Bench | Unsteered], options: Options, seed: int) -> Outcome:
    if question.feature is None:
        raise Unsteered("no feature: the question is about a text alone, and there is nothing to interchange")
    site = bench(question.feature.dictionary)
    if isinstance(site, Unsteered):
        raise site
    own = site.interchanged(question.feature.latent)
    controls = {latent: site.interchanged(latent) for latent in site.random if latent != question.feature.latent}
    random = np.mean([effect.followed for effect in controls.values()] or [np.full(len(own.followed), np.nan)], 0)
    rows = np.stack([own.followed, random][: len(question.texts)]).astype(np.float64)
    details = _details(site, question.feature.latent, own, controls, seed) | {"task": tasks.name_of(options.task)}
    remark = (
        f"the text is not read: this is whether the feature carries the concept of the task "
        f"{tasks.name_of(options.task)}; the control is {len(controls)} random latents of the site"
    )
    same = "the feature has the same activation in both prompts of every pair, so there was nothing to interchange"
    remarks = [remark] if details["changes"] else [remark, same]
    documents = np.arange(len(site), dtype=np.int64)
    return Outcome(
        documents, lambda drawn: _means(rows, drawn), 0.0, [], remarks, details, measure="interchange accuracy"
    )


def _means(rows: Float[np.ndarray, "texts trials"], drawn: Float[np.ndarray, "draws trials"]) -> np.ndarray:
    return rows @ drawn.T / drawn.sum(1)


def _details(site: Bench, latent: int, own: Effect, controls: Mapping[int, Effect], seed: int) -> dict[str, Any]:
    drawn = weights(np.arange(len(site)), seed)
    names = {"moved": own.moved, "random_moved": np.mean([e.moved for e in controls.values()] or [0 * own.moved], 0)}
    spread = {name: estimate(_means(row[None].astype(np.float64), drawn)[0], len(site)) for name, row in names.items()}
    lower, upper = bounds(own.followed.mean(keepdims=True), len(site))
    return {
        "pairs": len(site),
        "exact_bounds": [round(float(lower[0]), 4), round(float(upper[0]), 4)],
        "changes": round(float(site.changes[:, latent].mean()), 4),
        "random": list(controls),
        "all_latents": round(float(site.everything.followed.mean()), 4),
        **{name: [round(e.value, 4), round(e.lower, 4), round(e.upper, 4)] for name, e in spread.items()},
    }


class Bench:
    """A task's pairs at the site of one dictionary, with everything that interchanges need computed once.

    Raises `Unsteered` for a dictionary of several sites, and when the model gets too few pairs right.
    """

    @torch.no_grad()
    def __init__(self, steered: Steered, options: Options, seed: int) -> None:
        if not steered.dictionary.plain:
            raise Unsteered("not an autoencoder: only what is read and written at one site can be interchanged")
        self._steered = steered
        pairs = right_pairs(steered.subject, options.task, options.pairs, seed)
        self._groups = [_Group(steered, group) for group in by_length(pairs)]
        alive = np.flatnonzero(self.changes.any(0))
        self.random = np.random.default_rng(seed).permutation(alive)[: options.random].tolist()
        self._cache: dict[int, Effect] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups))

    @functools.cached_property
    def changes(self) -> Bool[np.ndarray, "pairs latents"]:
        """Whether a latent has another activation in the two prompts of a pair."""
        return np.concatenate([(group.difference != 0).any(1).cpu().numpy() for group in self._groups])

    @functools.cached_property
    def everything(self) -> Effect:
        """What interchanging all latents together does."""
        return self._effect(
            [group.changed(group.difference @ self._steered.dictionary.W_dec) for group in self._groups]
        )

    def interchanged(self, latent: int) -> Effect:
        """What interchanging `latent` does; computed once."""
        if latent not in self._cache:
            row = self._steered.dictionary.W_dec[latent]
            self._cache[latent] = self._effect(
                [group.changed(group.difference[..., latent, None] * row) for group in self._groups]
            )
        return self._cache[latent]

    def _effect(self, margins: list[Tensor]) -> Effect:
        margin = torch.cat(margins)
        clean, other = (torch.cat([getattr(group, name) for group in self._groups]) for name in ("clean", "other"))
        moved = (clean - margin) / (clean - other)
        return Effect((margin < 0).cpu().numpy(), moved.cpu().numpy().astype(np.float64))


class _Group:
    """Pairs of one length at the site: the stream, activations' differences, and margins of the clean answer."""

    def __init__(self, steered: Steered, pairs: Sequence[Pair]) -> None:
        self._steered, self._pairs = steered, pairs
        self._tokens = torch.tensor([pair.clean for pair in pairs])
        swapped = torch.tensor([pair.counterfactual for pair in pairs])
        site, encode = steered.site, steered.dictionary.encode
        self._value = steered.subject.read(self._tokens, [site])[site]
        self.difference = encode(steered.subject.read(swapped, [site])[site]) - encode(self._value)
        self.clean, self.other = (margins(steered.subject, tokens, pairs) for tokens in (self._tokens, swapped))

    def __len__(self) -> int:
        return len(self._pairs)

    @torch.no_grad()
    def changed(self, change: Float[Tensor, "pairs pos width"]) -> Float[Tensor, " pairs"]:
        """The margin of the clean answer once `change` is added at the site."""
        value, site = self._value + change.to(self._value), self._steered.site
        where = {"start": (site, value)} if site.residual else {"edits": {site: lambda _: value}}
        return margins(self._steered.subject, self._tokens, self._pairs, **where)


@torch.no_grad()
def margins(subject: Subject, tokens: Tensor, pairs: Sequence[Pair], **where: Any) -> Float[Tensor, " pairs"]:
    """Logit of the clean prompt's answer minus that of the other one's, after the last of `tokens` [pairs, pos]."""
    logits = subject.run(tokens, keep=torch.tensor([tokens.shape[1] - 1]), **where)
    assert logits is not None
    rows = torch.arange(len(pairs))
    answer, other = (torch.tensor([getattr(p, name) for p in pairs]) for name in ("answer", "counter_answer"))
    return (logits[rows, -1, answer] - logits[rows, -1, other]).float()


def right_pairs(subject: Subject, task: str, wanted: int, seed: int) -> list[Pair]:
    """At most `wanted` pairs with the same roles token by token that the model gets right both ways.

    Raises `Unsteered` when there are fewer than `LEAST`.
    """
    source = tasks.pairs(task, subject.tokenize, prefix=subject.prefix, seed=seed)
    given = (p for p in itertools.islice(source, TRIED * wanted) if p.paired and p.roles == p.counter_roles)
    right: list[Pair] = []
    tried = 0
    while len(right) < wanted and (some := list(itertools.islice(given, wanted))):
        right += itertools.compress(some, _right(subject, some))
        tried += len(some)
    if len(right) < LEAST:
        raise Unsteered(
            f"too few pairs: the model gets {len(right)} of {tried} pairs of the task {tasks.name_of(task)} right "
            f"both ways; {LEAST} are needed"
        )
    return right[:wanted]


def _right(subject: Subject, pairs: Sequence[Pair]) -> list[bool]:
    """Whether the model prefers the right answer on both prompts of each pair."""
    good: dict[Pair, bool] = {}
    for group in by_length(pairs):
        clean, other = (torch.tensor([getattr(p, name) for p in group]) for name in ("clean", "counterfactual"))
        both = (margins(subject, clean, group) > 0) & (margins(subject, other, group) < 0)
        good |= dict(zip(group, both.tolist(), strict=True))
    return [good[pair] for pair in pairs]


def by_length(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """`pairs` in groups whose prompts have as many tokens each."""
    ordered = sorted(pairs, key=lambda pair: len(pair.clean))
    return [list(group) for _, group in itertools.groupby(ordered, key=lambda pair: len(pair.clean))]
