"""What an explainer is given and gives back.

An explainer is a file of `autointerp/explainers` with

    def explain(cases: Sequence[Case], tools: Tools, options: Options) -> Iterator[Explained]

(and a frozen dataclass `Options`, if it has settings, else `data.parts.NoOptions` comes) that yields one `Explained` for
each case, in any order, with a text or an error, never both. It looks only at the `explain` half of the documents:
`Case.shown` and `Case.contrast` give windows of that half alone. It gets all cases at once so that it can batch them, or
have many requests under way.

What its texts depend on goes into their ids: its options always, and of the run's settings those that `USES` (or
`uses(options)`) names: `endpoint`, `judge`. `depends(case, options)` adds what else they depend on, as JSON. A text that is
an executable rule has that rule's record in its details, as `rule`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Any

from autointerp.drawing import Drawing
from autointerp.examples import SHOWN, Drawn, Reader, judged, shown
from data.errors import Mistake
from data.words import Feature


@dataclass(frozen=True)
class Case:
    """A feature to be explained: its activations, its row of statistics, how many windows to show, and how drawn."""

    feature: Feature
    reader: Reader
    statistics: dict[str, Any]
    windows: int
    seed: int
    drawing: Drawing = SHOWN

    @functools.cached_property
    def shown(self) -> Drawn:
        """Active windows, strongest first. Raises `examples.TooFew`."""
        return shown(self.reader, self.feature.latent, self.windows, self.seed, self.drawing)

    @functools.cached_property
    def contrast(self) -> Drawn:
        """Active windows of all strengths and as many silent ones of each kind, cut as those of a scorer are by default.

        Raises `examples.TooFew`.
        """
        cut = replace(self.drawing, sampler="quantile", centred=False)
        return judged(self.reader, self.feature.latent, "explain", self.windows, self.seed, cut)

    @property
    def drawn(self) -> dict[str, Any]:
        """What was passed over and what was lacking in the windows drawn so far, `shown` or `contrast`."""
        return {name: self.__dict__[name].record() for name in ("shown", "contrast") if name in self.__dict__}


@dataclass(frozen=True)
class Explained:
    """An explanation or why there is none. `details`: candidates and their scores, windows shown, requests."""

    feature: Feature
    text: str | None = None
    error: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.text is None) == (self.error is None):
            raise Mistake(f"The explanation of {self.feature} needs either a text or an error, not both or neither.")
