"""What `lacewing shift` may be told; no torch here, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass

from circuits.config import at_least
from data.config import DEFAULT_MODEL


@dataclass(frozen=True)
class ShiftConfig:
    """Free a probe from a spurious cue by removing latents of its circuit, and say what that was worth."""

    texts: str = ""
    """A .jsonl file of text, label (0 or 1), cue (0 or 1) and part (train, balanced, test or neutral); none: portraits of
    professors and nurses, he and she, made up on the spot."""
    model: str = DEFAULT_MODEL
    """The subject model: a hub name or a local folder."""
    site: str = ""
    """Where the probe reads, such as resid_post:15; the middle one of the sites with a dictionary when left out."""
    sites: str = ""
    """Sites whose latents may be removed, none after the probe's; all that have a dictionary when left out."""
    method: str = "attribution_patching"
    """How the latents' effects are estimated, to be shown beside the exact ones: a file of circuits/methods."""
    steps: int = 10
    """Midpoint steps of the path integral, for methods that have one."""
    nodes: int = 60
    """Latents with the largest effects on the probe: those a person chooses from."""
    remove: str = "auto"
    """What to remove: a file or a list of latents, as SITE/latent:N or DICTIONARY/N; none; or auto, which takes those of
    them that tell the cue apart in the neutral texts."""
    train: int = 160
    """Texts that the probe learns from."""
    discovery: int = 48
    """Of these, the texts in which effects are measured."""
    test: int = 240
    """Texts that it is tested on, a quarter of them in each group of label and cue."""
    draws: int = 5
    """Random choices of as many latents that the removal is compared with."""
    batch: int = 32
    """Texts in one pass."""
    seed: int = 0
    """Seed of the texts, the random choices and the bootstrap."""

    def __post_init__(self) -> None:
        at_least(self, steps=1, nodes=1, train=8, discovery=2, test=8, draws=1, batch=1)
