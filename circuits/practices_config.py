"""What `lacewing practices` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from circuits.config import ProblemConfig
from data.errors import Mistake


@dataclass(frozen=True)
class PracticesConfig(ProblemConfig):
    """Patch whole sites under several metrics and corruptions, and say where the answers differ."""

    mediators: str = "sites"
    """Whole sites are what is patched here."""
    reference: str = "counterfactual,noise,mean,zero"
    """How prompts are corrupted: files of circuits/references, with commas."""
    metric: str = "logit_difference,probability,kl"
    """What is measured: files of circuits/metrics, with commas."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mediators != "sites":
            raise Mistake(f"--mediators {self.mediators} is not for this verb: it patches whole sites; leave it out.")
        for name in ("reference", "metric"):
            listed = self.listed(name)
            if len(set(listed)) < len(listed) or not listed:
                raise Mistake(f"--{name} {getattr(self, name)!r} should name one part or more, each once, with commas.")

    def listed(self, name: str) -> tuple[str, ...]:
        """The parts that a field names."""
        return tuple(piece.strip() for piece in getattr(self, name).split(",") if piece.strip())
