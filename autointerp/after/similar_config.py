"""The options of `lacewing similar`."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.errors import Mistake


@dataclass(frozen=True)
class SimilarConfig:
    """How like two dictionaries of one model are: by direction, by where they fire, and by what is said of them."""

    one: str = field(metadata={"positional": True})
    """A dictionary."""
    other: str = field(metadata={"positional": True})
    """Another of the same model."""
    pairs: int = 500
    """Matched pairs whose activations and explanations are compared, drawn by the seed."""
    seed: int = 0
    """Decides the pairs, the nulls and the bootstrap."""

    def __post_init__(self) -> None:
        if self.pairs < 2:
            raise Mistake(f"pairs is {self.pairs}; it must be at least 2.")
        if self.one == self.other:
            raise Mistake(f"Dictionary {self.one} was named twice; every latent is like itself. Name two.")
