"""The options of `lacewing counterexamples`."""

from __future__ import annotations

from dataclasses import dataclass

from autointerp.after.asking import Asking
from data.config import DEFAULT_MODEL
from data.errors import Mistake


@dataclass(frozen=True)
class CounterexamplesConfig(Asking):
    """Windows that contradict a label: it fits and the feature is silent, or the feature fires and it does not fit."""

    explanations: str = ""
    """The explain run whose labels are refuted; empty means the newest one that is done."""
    scorer: str = "embedding"
    """Who judges how well a label fits a window: a file of autointerp/scorers that judges windows as they are."""
    windows: int = 400
    """Windows looked at for each feature: as they come, and those where it fires, at most half of them."""
    keep: int = 10
    """Windows of each kind that are kept."""
    judge: str = DEFAULT_MODEL
    """The language model of the surprisal score: a hub name or a local folder."""
    seed: int = 0
    """Decides the windows and the bootstrap."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.windows < 20 or self.keep < 1:
            raise Mistake(f"windows is {self.windows} and keep {self.keep}; at least 20 and 1 are needed.")
