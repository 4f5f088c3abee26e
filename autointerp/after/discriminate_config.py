"""The options of `lacewing discriminate`."""

from __future__ import annotations

from dataclasses import dataclass

from autointerp.after.asking import Asking
from data.config import DEFAULT_MODEL
from data.errors import Mistake


@dataclass(frozen=True)
class DiscriminateConfig(Asking):
    """Whether a label tells its feature from the features nearest to it."""

    explanations: str = ""
    """The explain run whose labels are tested; empty means the newest one that is done."""
    scorer: str = "embedding"
    """Who judges how well a label fits a window: a file of autointerp/scorers that judges windows as they are."""
    windows: int = 40
    """Windows for each feature and kind of neighbour: half where it fires, half where neighbours do and it does not."""
    controls: int = 3
    """Neighbours' labels judged on the same windows."""
    judge: str = DEFAULT_MODEL
    """The language model of the surprisal score: a hub name or a local folder."""
    seed: int = 0
    """Decides the windows, the controls and the bootstrap."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.windows < 8 or self.controls < 0:
            raise Mistake(f"windows is {self.windows} and controls {self.controls}; at least 8 and 0 are needed.")
