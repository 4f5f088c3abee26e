"""The options of `lacewing relabel`."""

from __future__ import annotations

from dataclasses import dataclass, field

from autointerp.after.asking import Asking
from data.config import DEFAULT_MODEL
from data.errors import Mistake


@dataclass(frozen=True)
class RelabelConfig(Asking):
    """A label of one's own for a feature, scored at once beside the present explanation."""

    feature: str = field(kw_only=True, metadata={"positional": True})
    """DICTIONARY/LATENT."""
    text: str = field(kw_only=True, metadata={"positional": True})
    """What the feature fires at, in words."""
    author: str = "human"
    """Who says so."""
    scorers: str = "embedding,surprisal"
    """Files of autointerp/scorers that judge windows as they are, by commas."""
    windows: int = 32
    """Windows of the score half, half of them active. As many as `lacewing score` drew, so that what it kept is used."""
    judge: str = DEFAULT_MODEL
    """The language model of the surprisal score: a hub name or a local folder."""
    seed: int = 0
    """Decides the windows, the control and the bootstrap."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.text.strip():
            raise Mistake("The label is empty. Say what the feature fires at, in quotes.")
        if self.windows < 10:
            raise Mistake(f"windows is {self.windows}; it must be at least 10.")
