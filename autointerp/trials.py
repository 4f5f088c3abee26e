"""What is tested by a score run: each explanation with its windows, its control, and the rate at which its feature fires.

1. Windows are drawn from the `score` half of the harvest, which no explainer has seen.
2. The control is another feature's explanation, drawn by the seed (a swap), or that of the nearest feature (a hard swap).
   A text that says nearly the same is no control and is passed over.
3. The natural rate is counted, not estimated: the share of all windows of that half and length in which the latent fires.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autointerp.config import ScoreConfig
from autointerp.examples import Reader, TooFew, Window, judged
from autointerp.judgements import Question
from autointerp.records import Explanation, statistics_of
from data.store import Workspace
from data.words import Feature, digest

ALIKE = 0.5
"""The share of words in common from which two texts say nearly the same."""
STRANGERS = 20


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


def trials(workspace: Workspace, explanations: Sequence[Explanation], config: ScoreConfig) -> list[Trial]:
    """A trial for each explanation; one whose windows cannot be drawn says why."""
    reader = functools.cache(functools.partial(Reader, workspace))
    nearest = _nearest(workspace, explanations) if config.swap == "nearest" else {}
    found = [_trial(reader, one, explanations, config, nearest.get(one.feature, [])) for one in explanations]
    return [replace(one, strangers=strangers(one, found, config.seed)) for one in found]


def _trial(
    reader: functools._lru_cache_wrapper[Reader],
    one: Explanation,
    others: Sequence[Explanation],
    config: ScoreConfig,
    nearest: Sequence[Feature],
) -> Trial:
    hard = nearest_swap(one, others, nearest)
    control, how = (hard, "nearest") if hard else (swap(one, others, config.seed), "random")
    try:
        opened = reader(one.feature.dictionary)
        windows = judged(opened, one.feature.latent, "score", config.windows, config.seed, config.drawing)
    except TooFew as reason:
        return Trial(one, [], str(reason), control, swap=how)
    return Trial(one, windows, None, control, opened, how)


def strangers(trial: Trial, others: Sequence[Trial], seed: int) -> tuple[Window, ...]:
    """At most `STRANGERS` active windows, each of another feature; the same whichever trials are still to be scored."""
    known = {o.explanation.feature: o for o in others if o.windows}
    known.pop(trial.explanation.feature, None)
    features = sorted(known, key=lambda f: digest("stranger", seed, trial.explanation.feature, f))[:STRANGERS]
    active = ([w for w in known[feature].windows if w.active] for feature in features)
    return tuple(windows[0] for windows in active if windows)


def swap(explanation: Explanation, others: Sequence[Explanation], seed: int) -> Explanation | None:
    """Another feature's explanation that says something else, drawn by `seed`; None when there is none."""
    pool = [o for o in others if o.feature != explanation.feature and not alike(o.text, explanation.text)]
    return min(pool, key=lambda o: digest("swap", seed, explanation.explanation, o.explanation), default=None)


def nearest_swap(
    explanation: Explanation, others: Sequence[Explanation], nearest: Sequence[Feature]
) -> Explanation | None:
    """The explanation of the first of the `nearest` features that has one and says something else."""
    known = {o.feature: o for o in reversed(others) if not alike(o.text, explanation.text)}
    return next((known[feature] for feature in nearest if feature in known), None)


def _nearest(workspace: Workspace, explanations: Sequence[Explanation]) -> dict[Feature, list[Feature]]:
    """Each feature's nearest by decoder cosine, then by co-activation, as the harvest stored them."""
    found = statistics_of(workspace, sorted({e.feature for e in explanations}))
    return {
        feature: [Feature(feature.dictionary, int(latent)) for name in ("nearest", "neighbours")
                  for latent, _ in statistics.get(name, [])]
        for feature, statistics in found.items()
    }  # fmt: skip


def alike(one: str, other: str) -> bool:
    """Whether two texts share so many of their words (Jaccard) that they say nearly the same.

    Where both quote words, these are compared: labels of one template share what stands around them.
    """
    left, right = (set(re.findall(r'"([^"]+)"', text.lower())) for text in (one, other))
    if not (left and right):
        left, right = (set(re.findall(r"\w+", text.lower())) for text in (one, other))
    return one == other or len(left & right) >= ALIKE * max(len(left | right), 1)
