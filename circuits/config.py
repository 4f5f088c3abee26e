"""What `lacewing circuit` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.config import DEFAULT_MODEL
from data.errors import Mistake


@dataclass(frozen=True)
class CircuitConfig:
    """Trace a behaviour to a verified circuit of dictionary latents."""

    task: str = field(default="agreement", metadata={"positional": True})
    """The behaviour to trace: a file of data/tasks."""
    model: str = DEFAULT_MODEL
    """The subject model: a hub name or a local folder."""
    sites: str = ""
    """Sites to splice, such as resid_post:5,10; all that have a dictionary of this model when left out."""
    method: str = "integrated_gradients"
    """How node effects are estimated: a file of circuits/methods."""
    steps: int = 10
    """Midpoint steps of the path integral, for methods that have one."""
    pairs: int = 128
    """Prompt pairs that the model gets right, half of them for discovery and half held out."""
    nodes: int = 500
    """Nodes kept in the circuit, over all sites, error nodes counted."""
    edge_nodes: int = 200
    """How many of the most important nodes are joined by edges."""
    verify: int = 100
    """Most important nodes verified by exact patching; half as many again are drawn at random from the rest."""
    draws: int = 5
    """Random circuits of each size that the evaluation compares with."""
    batch: int = 32
    """Prompts in one pass."""
    seed: int = 0
    """Seed of the pairs, the random circuits and the bootstrap."""

    def __post_init__(self) -> None:
        least = {"steps": 1, "pairs": 4, "nodes": 1, "edge_nodes": 0, "verify": 0, "draws": 1, "batch": 1}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise Mistake(f"--{name.replace('_', '-')} {getattr(self, name)} is too few; give at least {minimum}.")
