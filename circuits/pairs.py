"""The pairs that a circuit is traced with: those of a task that the model gets right, halved.

1. Pairs are drawn from the task until enough are kept: the model must prefer the right answer on the clean prompt, and the
   other one on the counterfactual. The share that it gets right is recorded.
2. One half is for discovery, the other held out. Each *word* in which the prompts of a pair differ (the subject and its
   plural, two names, two years) goes to one half, with all its pairs; a pair whose words went to different ones is left
   out. So the held-out half asks about words that the circuit was not found on.
3. Where all pairs differ in the same words (because against so), whole prompts go to one half instead. A prompt is never
   in both, as clean prompt or as counterfactual.
4. A generated task must give as many pairs as were asked for. A file is used up to that number, whole if it has fewer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from circuits.problem import Problem
from data import tasks
from data.errors import Mistake
from data.models import Subject
from data.words import Pair

LEAST = 4
"""Pairs that two halves need at least."""
STALE = 1000
"""Pairs in a row whose clean prompt was tried before: a generated task has no more."""


@dataclass(frozen=True)
class Gathered:
    """The pairs of a task: `discovery` and `heldout`, how many were `tried`, and the share `accuracy` right both ways."""

    discovery: tuple[Pair, ...]
    heldout: tuple[Pair, ...]
    tried: int
    accuracy: float
    apart: str = "prompts"
    """What the halves do not share: `words`, those that the prompts of a pair differ in, or only whole `prompts`."""


def gather(subject: Subject, task: str, wanted: int, *, seed: int, batch: int = 32) -> Gathered:
    """`wanted` pairs that the model gets right both ways, fewer only from a file that has fewer.

    Neither `batch` nor the order of rows within the file changes which. Raises `Mistake` when too few are right.
    """
    source = tasks.pairs(task, subject.tokenize, prefix=subject.prefix, seed=seed)
    given = source if tasks.is_file(task) else itertools.islice(_once(source), 8 * wanted + 64)
    words, prompts = Halves(wanted, words_of), Halves(wanted, prompts_of)
    tried = right = 0
    for pair, good in _judged(subject, given, batch):
        tried += 1
        right += good
        if good:
            words.add(pair)
            prompts.add(pair)
        if words.full or (prompts.full and words.hopeless(right)):
            break
    chosen = words if words.full or (not words.hopeless(right) and tasks.is_file(task)) else prompts
    if not (chosen.full or (tasks.is_file(task) and chosen.smaller >= LEAST // 2)):
        raise _too_few(subject, task, wanted, tried, right)
    return Gathered(*chosen.halves, tried, right / tried, "words" if chosen is words else "prompts")


@dataclass
class Halves:
    """Pairs in two halves that share no key of `keys_of`; see the module."""

    wanted: int
    keys_of: Callable[[Pair], set[Hashable]]
    sides: tuple[list[Pair], list[Pair]] = field(default_factory=lambda: ([], []))
    _side: dict[Hashable, int] = field(default_factory=dict)

    def add(self, pair: Pair) -> None:
        """Takes the pair in, unless its keys are on different sides or its side has too many."""
        keys = self.keys_of(pair)
        known = {self._side[key] for key in keys if key in self._side}
        lesser = int(len(self.sides[1]) < len(self.sides[0]))
        side = known.pop() if len(known) == 1 else lesser
        ahead = len(self.sides[side]) - len(self.sides[1 - side])
        if ahead > self.wanted // 16 and any(key not in self._side for key in keys):
            side = lesser
        for key in keys:
            self._side.setdefault(key, side)
        if all(self._side[key] == side for key in keys):
            self.sides[side].append(pair)

    @property
    def halves(self) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
        """Discovery and held-out, no more than are wanted."""
        half = self.wanted // 2
        return tuple(self.sides[0][:half]), tuple(self.sides[1][: self.wanted - half])

    @property
    def full(self) -> bool:
        return sum(map(len, self.halves)) == self.wanted

    @property
    def smaller(self) -> int:
        """How many pairs the smaller half has."""
        return min(map(len, self.halves))

    def hopeless(self, seen: int) -> bool:
        """Whether, of `seen` pairs, so few are in the smaller half that it will not fill."""
        return self.smaller < max(LEAST // 2, min(seen, self.wanted) // 8) or seen >= 4 * self.wanted


def words_of(pair: Pair) -> set[Hashable]:
    """What the prompts differ in: the tokens of every role that has not the same ones in both; the prompt, if unpaired."""
    if not pair.paired:
        return {pair.clean}
    clean, counter = _by_role(pair.clean, pair.roles), _by_role(pair.counterfactual, pair.counter_roles)
    return {side[role] for role in clean if clean[role] != counter[role] for side in (clean, counter)}


def prompts_of(pair: Pair) -> set[Hashable]:
    """The prompts."""
    return {pair.clean, pair.counterfactual} if pair.paired else {pair.clean}


def right_of(subject: Subject, pairs: Sequence[Pair]) -> list[bool]:
    """Whether the model prefers the right answer on both prompts of each pair (on its only one, if it has one answer)."""
    two = all(pair.answer != pair.counter_answer for pair in pairs)
    problem = Problem.of(
        subject, {}, pairs, batch=len(pairs), positions="sum", reference="zero",
        metric="logit_difference" if two else "log_probability",
    )  # fmt: skip
    if not two:
        return (problem.clean_logits.argmax(-1) == problem.answers).tolist()
    right = problem.clean_metric > 0
    if all(pair.paired for pair in pairs):
        right &= problem.patch_metric < 0
    return right.tolist()


def _by_role(tokens: Sequence[int], roles: Sequence[str]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for token, role in zip(tokens, roles, strict=True):
        found[role] = (*found.get(role, ()), token)
    return found


def _once(source: Iterable[Pair]) -> Iterator[Pair]:
    """The pairs whose clean prompt was not there before."""
    seen: set[tuple[int, ...]] = set()
    stale = 0
    for pair in source:
        stale = stale + 1 if pair.clean in seen else 0
        if stale > STALE:
            return
        if not stale:
            seen.add(pair.clean)
            yield pair


def _judged(subject: Subject, source: Iterator[Pair], batch: int) -> Iterator[tuple[Pair, bool]]:
    """Each pair, and whether the model gets it right."""
    while chunk := list(itertools.islice(source, batch)):
        yield from zip(chunk, right_of(subject, chunk), strict=True)


def _too_few(subject: Subject, task: str, wanted: int, tried: int, right: int) -> Mistake:
    gets = (
        f"{subject.name} gets {right} of {tried} pairs of the task {tasks.name_of(task)!r} right "
        f"({100 * right / max(tried, 1):.0f} %)"
    )
    if not tasks.is_file(task):
        return Mistake(
            f"{gets}, which leaves fewer than the {wanted} asked for. "
            f"Ask for fewer with --pairs, or choose a task or model that it can do."
        )
    if right >= LEAST:
        return Mistake(
            f"{gets}, but they share their prompts, so that no half of them can be held out. "
            f"Give the pairs of {task!r} prompts and counterfactuals of their own."
        )
    return Mistake(
        f"{gets}, and a circuit needs {LEAST}. Give {task!r} more pairs, or others that the model can do; an answer is "
        f"taken as it stands, so write the space that it begins with."
    )
