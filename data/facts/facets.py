"""Facets: which features a list shows, and in which order."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from data.errors import Mistake, unknown

DENSE = 0.1
"""A feature active at more than this share of tokens is called dense: too common to mean one thing."""
STATES = {"alive": f"active, at no more than {100 * DENSE:.0f} % of tokens", "dead": "never active in the harvest",
          "dense": f"active at more than {100 * DENSE:.0f} % of tokens"}  # fmt: skip
SORTS = ("max activation", "density", "latent", "circuits", "effect", "score", "above control")
"""What features can be ordered by: `density` ascends, `-density` descends; those without a value come last."""
ANY, NONE = "any", "none"
"""Instead of names: features that have some value of a facet, and those that have none."""


@dataclass(frozen=True)
class Range:
    """From `low` on, below `high`; None is no bound. Written `0.001..0.1`, `..0.1`, `0.001..`."""

    low: float | None = None
    high: float | None = None

    def __bool__(self) -> bool:
        return self.low is not None or self.high is not None

    def __str__(self) -> str:
        return f"{_written(self.low)}..{_written(self.high)}" if self else ""

    @classmethod
    def parse(cls, text: str, what: str = "range") -> Range:
        """A range as it is written; raises `Mistake` when it is none, or is empty."""
        if not text.strip():
            return cls()
        low, dots, high = text.partition("..")
        try:
            found = cls(float(low) if low.strip() else None, float(high) if high.strip() else None)
        except ValueError:
            found = cls()
        if not dots or not found or not all(math.isfinite(end or 0.0) for end in (found.low, found.high)):
            raise Mistake(
                f"{what} = {text!r} is not a range; write LOW..HIGH, such as 0.001..0.1, or leave one end out."
            )
        if found.low is not None and found.high is not None and found.low >= found.high:
            raise Mistake(f"{what} = {text!r} holds nothing: its lower end is not below its upper end.")
        return found


@dataclass(frozen=True)
class Facets:
    """What features must have, and their order. Within a facet one value is enough; all facets must hold."""

    dictionary: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    """alive, dead (density 0), dense (density above DENSE)."""
    density: Range = Range()
    """Share of tokens."""
    activation: Range = Range()
    """The largest."""
    score: Range = Range()
    """Above the control: of the best score, by one of the explainers and scorers that are asked for."""
    scorer: tuple[str, ...] = ()
    explainer: tuple[str, ...] = ()
    author: tuple[str, ...] = ()
    """Who gave it a label."""
    circuit: tuple[str, ...] = ()
    list: tuple[str, ...] = ()
    contested: bool = False
    """Only features of which one scorer says that an explanation fits and another that it does not."""
    text: str = ""
    """Part of an explanation's or label's text, in upper or lower case."""
    sort: str = "-max activation"

    def __post_init__(self) -> None:
        if self.sort.removeprefix("-") not in SORTS:
            raise unknown("order of features", self.sort.removeprefix("-"), SORTS)
        for state in self.state:
            if state not in STATES:
                raise unknown("state of a feature", state, STATES)

    @property
    def active(self) -> tuple[str, ...]:
        """The facets that narrow the list."""
        return tuple(f.name for f in fields(self) if f.name != "sort" and getattr(self, f.name))


def _written(end: float | None) -> str:
    return "" if end is None else f"{end:.12g}"
