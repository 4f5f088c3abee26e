"""How windows are drawn, as a user states it.

1. `context` tokens a window, cut at fixed places (tiles) or centred: the peak of an active window at three quarters of it
   (what comes before matters, since models are causal), and a place drawn by lot at three quarters of a silent one.
2. Active windows are drawn by samplers (`samplers/`), silent ones by sources of negatives (`negatives/`); several may be
   named, each with its settings.

This file brings no torch: configs take their fields from it.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import Any

from data import parts
from data.errors import Mistake
from data.parts import Choice

SAMPLERS = "autointerp.samplers"
NEGATIVES = "autointerp.negatives"
CONTEXT = 12


@dataclass(frozen=True)
class Share:
    """How many of the active windows come from a sampler."""

    share: float = 1.0
    """Its part of the windows, relative to the other samplers named."""

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise Mistake(f"The share of a sampler is {self.share}; it must be above 0.")


@dataclass(frozen=True)
class Amount:
    """How many silent windows come from a source of negatives."""

    count: int = 0
    """How many; 0 means as many as there are active windows to be drawn."""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise Mistake(f"The count of a source of negatives is {self.count}; it must be at least 0.")


@dataclass(frozen=True)
class Drawing:
    """How windows are drawn. Raises `Mistake` for a sampler or a source of negatives that is not known."""

    context: int = CONTEXT
    centred: bool = False
    sampler: str = "quantile"
    negatives: str = "random"

    def __post_init__(self) -> None:
        if self.context < 4:
            raise Mistake(f"context is {self.context}; a window has at least 4 tokens.")
        _ = self.samplers, self.sources

    @functools.cached_property
    def samplers(self) -> list[Choice]:
        """Who draws the active windows."""
        return parts.choices(SAMPLERS, self.sampler)

    @functools.cached_property
    def sources(self) -> list[Choice]:
        """Who draws the silent windows."""
        return parts.choices(NEGATIVES, self.negatives)

    @property
    def shorter(self) -> int:
        """Tokens in a window of a latent so dense that few windows of `context` tokens are silent."""
        return self.context // 2

    def record(self) -> dict[str, Any]:
        """The fields, for the recipe of whatever is made of the windows."""
        return asdict(self)

    @classmethod
    def of(cls, config: Any) -> Drawing:
        """The drawing that a config states."""
        return cls(config.context, config.centred, config.sampler, config.negatives)


@dataclass(frozen=True)
class DrawingConfig:
    """How the windows of explaining and scoring are drawn; each has its own `sampler` and `centred` besides."""

    context: int = CONTEXT
    """Tokens in a window; half as many for a feature that is silent in too few windows of that length."""
    negatives: str = "random"
    """Who draws the silent windows: files of autointerp/negatives, such as random,near:count=10 or random,neighbour."""

    @property
    def drawing(self) -> Drawing:
        """The drawing that these options state. Raises `Mistake` for a part or setting that is not known."""
        return Drawing.of(self)
