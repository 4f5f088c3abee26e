"""The options of `lacewing plan-autointerp`.

This file brings no torch: `lacewing --help` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from data.errors import Mistake

FORMATS = (".md", ".html")


@dataclass(frozen=True)
class PlanConfig:
    """Hours, tokens, money and storage for very many features, from rates measured in this workspace's own runs."""

    features: int = 1_000_000
    """How many features are to be harvested, explained and scored."""
    tokens: int = 10_000_000
    """Tokens of text to harvest them over."""
    latents: int = 0
    """Latents in a dictionary; 0: as in those that were harvested here."""
    machines: int = 1
    """Machines like the one that was measured, each with as many workers; twice as many are taken to be twice as fast."""
    endpoints: int = 1
    """Language-model endpoints like the one that was measured."""
    price_in: float | None = None
    """Dollars for a million tokens of prompt."""
    price_out: float | None = None
    """Dollars for a million tokens of answer."""
    price_hour: float | None = None
    """Dollars for an hour of a machine."""
    price_gb: float | None = None
    """Dollars for keeping a gigabyte for a month."""
    out: str = ""
    """A file to write the page to as well: .md or .html."""

    def __post_init__(self) -> None:
        for name, least in {"features": 1, "tokens": 1, "latents": 0, "machines": 1, "endpoints": 1}.items():
            if getattr(self, name) < least:
                raise Mistake(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        for name in ("price_in", "price_out", "price_hour", "price_gb"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise Mistake(f"{name} is {value}; it can't be below 0.")
        if self.out and not self.out.endswith(FORMATS):
            raise Mistake(f"out is {self.out!r}; its name should end in {' or '.join(FORMATS)}.")
