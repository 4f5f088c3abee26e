"""What is tested by a score run: each explanation with its windows, its control, and the rate at which its feature fires.

1. Windows are drawn from the `score` half of the harvest, which no explainer has seen.
2. The control is another feature's explanation, drawn by the seed (a swap), or that of the nearest feature (a hard swap);
   see `controls.py`.
3. The natural rate is counted, not estimated: the share of all windows of that half and length in which the latent fires.
4. Trials are made `BLOCK` explanations at a time, so that a million of them take no more memory than a thousand. Strangers,
   windows of other features for those scorers that want some, are of the same block.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace

from autointerp.config import ScoreConfig
from autointerp.controls import Circle, Controls, hard_control
from autointerp.examples import Reader, TooFew, Window, judged
from autointerp.judgements import Question
from autointerp.records import Explanation, statistics_of
from data.store import Workspace
from data.words import Feature

STRANGERS = 20
BLOCK = 1000
"""Explanations whose windows are held at a time."""


@dataclass(frozen=True)
class Trial:
    """An explanation, the windows that test it (or why there are none), and the explanation that is its control."""

    explanation: Explanation
    windows: list[Window]
    problem: str | None
    control: Explanation | None
    reader: Reader | None = None
    swap: str = "random"
    """How the control was drawn: `random` or `nearest`."""
    strangers: tuple[Window, ...] = ()
    """Active windows of other features, at most one each."""

    @property
    def question(self) -> Question:
        texts = [self.explanation.text, *([self.control.text] if self.control else [])]
        return Question(tuple(texts), self.windows, self.explanation.feature, self.reader, self.strangers)

    @functools.cached_property
    def rate(self) -> float | None:
        """The share of windows of this half and length that are active; None without a harvest."""
        if self.reader is None or not self.windows:
            return None
        length = max(len(window.ids) for window in self.windows)
        return natural_rate(self.reader, self.explanation.feature.latent, self.windows[0].half, length)


def natural_rate(reader: Reader, latent: int, half: str, length: int) -> float:
    """The share of the tiles of `length` tokens of `half` in which `latent` fires."""
    found = reader.tiles(half, length).active(reader.firings(latent))
    return float(found.mean()) if len(found) else 0.0


class Trials:
    """The trials of `explanations`, a block at a time; one whose windows cannot be drawn says why."""

    def __init__(self, workspace: Workspace, explanations: Sequence[Explanation], config: ScoreConfig) -> None:
        self.explanations, self._workspace, self._config = explanations, workspace, config
        self._controls = Controls(explanations, config.seed)
        self._reader = functools.cache(functools.partial(Reader, workspace))
        self._kept: tuple[int, list[Trial]] = (-1, [])

    def __len__(self) -> int:
        return len(self.explanations)

    def blocks(self, wanted: Container[str]) -> Iterator[list[Trial]]:
        """The trials of `wanted` explanations, in order; the last block that was made is kept for the next who asks."""
        for begin in range(0, len(self), BLOCK):
            several = self.explanations[begin : begin + BLOCK]
            if any(one.explanation in wanted for one in several):
                if self._kept[0] != begin:
                    self._kept = (begin, self._made(several))
                yield [trial for trial in self._kept[1] if trial.explanation.explanation in wanted]

    def _made(self, several: Sequence[Explanation]) -> list[Trial]:
        nearest = _nearest(self._workspace, several) if self._config.swap == "nearest" else {}
        return with_strangers([self._trial(one, nearest.get(one.feature, [])) for one in several], self._config.seed)

    def _trial(self, one: Explanation, nearest: Sequence[Feature]) -> Trial:
        hard = hard_control(one, self._of_features, nearest) if nearest else None
        control, how = (hard, "nearest") if hard else (self._controls.of(one), "random")
        config = self._config
        try:
            opened = self._reader(one.feature.dictionary)
            windows = judged(opened, one.feature.latent, "score", config.windows, config.seed, config.drawing)
        except TooFew as reason:
            return Trial(one, [], str(reason), control, swap=how)
        return Trial(one, windows, None, control, opened, how)

    @functools.cached_property
    def _of_features(self) -> dict[Feature, list[Explanation]]:
        found = defaultdict[Feature, list[Explanation]](list)
        for one in self.explanations:
            found[one.feature].append(one)
        return found


def with_strangers(trials: Sequence[Trial], seed: int) -> list[Trial]:
    """Each trial with at most `STRANGERS` active windows, each of another feature of `trials`."""
    active = {str(t.explanation.feature): next((w for w in t.windows if w.active), None) for t in reversed(trials)}
    circle = Circle({name: (name, window) for name, window in active.items() if window}, seed)
    return [replace(trial, strangers=_strangers(str(trial.explanation.feature), circle)) for trial in trials]


def _strangers(feature: str, circle: Circle[tuple[str, Window]]) -> tuple[Window, ...]:
    others = (window for name, window in circle.after(feature) if name != feature)
    return tuple(itertools.islice(others, STRANGERS))


def _nearest(workspace: Workspace, explanations: Sequence[Explanation]) -> dict[Feature, list[Feature]]:
    """Each feature's nearest by decoder cosine, then by co-activation, as the harvest stored them."""
    found = statistics_of(workspace, sorted({e.feature for e in explanations}))
    return {
        feature: [Feature(feature.dictionary, int(latent)) for name in ("nearest", "neighbours")
                  for latent, _ in statistics.get(name, [])]
        for feature, statistics in found.items()
    }  # fmt: skip
