"""Windows of text around a feature's activations, and windows where it is silent.

1. `shown` draws windows for an explainer: active ones of the `explain` half, by default half the strongest and half from
   all strengths, each placed so that its peak stands at three quarters.
2. `judged` draws windows for a scorer: half of them active, by default equally from quintiles of strength, and as many
   silent ones of each kind asked for. They are cut the same way (`places.py`), so nothing but the feature tells them
   apart. A latent so dense that few windows are silent gets shorter ones.
3. Both draw from one half of the documents (`explain` or `score`), and never nearly the same text twice (`windows.py`).
   What is drawn depends on the seed and the latent alone: no other latent's activations, and no text outside the windows
   that could be drawn, has a part in it.

A latent that is dead, too rare or too dense raises `TooFew`, which callers store as the error of a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from autointerp.drawing import NEGATIVES, SAMPLERS, Drawing
from autointerp.places import Places, places
from autointerp.reader import Firings, Reader, Tiles, newest_harvest, tokens_of
from autointerp.windows import STRATA, Collector, Drawn, State, TooFew, Window, distinct, strata
from data import parts
from data.parts import Choice

__all__ = [
    "FEWEST",
    "STRATA",
    "Drawn",
    "Firings",
    "Reader",
    "Tiles",
    "TooFew",
    "Window",
    "distinct",
    "judged",
    "newest_harvest",
    "shown",
    "strata",
    "tokens_of",
]

FEWEST = 4
"""Windows of a kind below which a latent is too rare, or too dense, to be explained or scored."""
SHOWN = Drawing(centred=True, sampler="top,quantile")
"""How windows are drawn for an explainer unless stated otherwise."""
JUDGED = Drawing()
"""How windows are drawn for a scorer unless stated otherwise."""


def shown(reader: Reader, latent: int, count: int, seed: int, drawing: Drawing = SHOWN) -> Drawn:
    """At most `count` active windows of the `explain` half, strongest first. Raises `TooFew`."""
    found = places(reader, latent, "explain", drawing.context, drawing.centred)
    _enough(found, len(found.active))
    collector = Collector()
    _active(found, collector, count, drawing.samplers, np.random.default_rng([seed, latent]))
    windows = sorted(collector.windows, key=lambda w: -w.strength)
    return Drawn(windows, duplicates=collector.duplicates, lacking=collector.lacking)


def judged(reader: Reader, latent: int, half: str, count: int, seed: int, drawing: Drawing = JUDGED) -> Drawn:
    """Windows of `half`, shuffled: `count // 2` active ones, and as many silent ones of each kind that is asked for.

    There are fewer where the text has no more (`Drawn.lacking`). Raises `TooFew`.
    """
    draw = np.random.default_rng([seed, latent, len(half)])
    found = _room(reader, latent, half, count // 2, drawing)
    collector = Collector()
    active = _active(found, collector, count // 2, drawing.samplers, draw)
    for choice in drawing.sources:
        order = parts.load(NEGATIVES, choice.name).order(found, active, draw, choice.options)
        collector.take(found.windows(order, choice.name), choice.options.count or count // 2, choice.name)
    silent = len(collector.windows) - len(active)
    if silent < FEWEST:
        raise _too_few(
            "dense", found, f"too dense: it is silent in {silent} different windows of the {half} half", silent
        )
    windows = [collector.windows[i] for i in draw.permutation(len(collector.windows))]
    return Drawn(windows, duplicates=collector.duplicates, lacking=collector.lacking)


def _room(reader: Reader, latent: int, half: str, count: int, drawing: Drawing) -> Places:
    """Places of the longest windows of which `count` are silent. Raises `TooFew`."""
    found = places(reader, latent, half, drawing.context, drawing.centred)
    _enough(found, len(found.active))
    if len(found.silent) < count:
        found = places(reader, latent, half, drawing.shorter, drawing.centred)
    if len(found.silent) < count:
        message = f"too dense: fewer than {count} windows of {drawing.shorter} tokens in the {half} half are silent"
        raise _too_few("dense", found, message, len(found.silent))
    return found


def _active(
    found: Places, collector: Collector, count: int, samplers: Sequence[Choice], draw: np.random.Generator
) -> list[Window]:
    """Draws `count` active windows into `collector`. Raises `TooFew` when too few of them differ."""
    order = found.active[sampled(found.strength, count, samplers, draw)]
    taken = collector.take(found.windows(order, "active"), count, "active")
    if collector.duplicates:
        _enough(found, len(taken), "different ")
    return taken


def sampled(
    strength: Float[np.ndarray, " windows"], count: int, samplers: Sequence[Choice], draw: np.random.Generator
) -> Int[np.ndarray, " windows"]:
    """All windows, most wanted first: of the first `count` each sampler has its share, drawn from what is left to it.

    What comes after them, which stands in where texts repeat, is in the order of the last sampler.
    """
    shares = np.cumsum([choice.options.share for choice in samplers])
    ends = np.floor(shares / shares[-1] * count + 0.5).astype(int)
    chosen = rest = np.zeros(0, dtype=np.int64)
    left = np.arange(len(strength))
    for choice, end in zip(samplers, ends.tolist(), strict=True):
        order = left[parts.load(SAMPLERS, choice.name).order(strength[left], draw, choice.options)]
        wanted = end - len(chosen)
        chosen, rest = np.concatenate([chosen, order[:wanted]]), order[wanted:]
        left = np.sort(rest)
    return np.concatenate([chosen, rest])


def _enough(found: Places, windows: int, sort: str = "") -> None:
    """Raises `TooFew` when a latent has less than `FEWEST` active `windows`."""
    if windows >= FEWEST:
        return
    fired = len(found.firings)
    if not fired:
        raise _too_few("dead", found, "dead: it never fired in the harvest", 0)
    times = f"{fired} firing{'s' if fired > 1 else ''}"
    raise _too_few(
        "rare",
        found,
        f"too rare: {times} in the harvest, active in {windows} {sort}windows of the {found.half} half; "
        f"{FEWEST} are needed",
        windows,
    )


def _too_few(state: State, found: Places, message: str, windows: int) -> TooFew:
    return TooFew(message, state, firings=len(found.firings), windows=windows)
