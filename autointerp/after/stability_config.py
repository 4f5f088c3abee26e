"""The options of `lacewing stability`."""

from __future__ import annotations

from dataclasses import dataclass

from autointerp.config import ExplainConfig
from data.errors import Mistake


@dataclass(frozen=True)
class StabilityConfig(ExplainConfig):
    """How much labels and their scores depend on the windows that the explainer happened to see."""

    draws: int = 3
    """How many times the features are explained, with seeds that follow one another."""
    scorer: str = "embedding"
    """Who scores every draw, always on the same windows: a file of autointerp/scorers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 2:
            raise Mistake(f"draws is {self.draws}; agreement takes at least 2.")
        if "," in self.explainer:
            raise Mistake(f"{self.explainer!r} names several explainers; compare the draws of one at a time.")
        if self.dry_run:
            raise Mistake(
                "--dry-run is for `lacewing explain`: a dry run of it, times --draws, is what this verb would ask."
            )
