"""What `lacewing circuit` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.config import DEFAULT_MODEL
from data.errors import Mistake


@dataclass(frozen=True)
class ProblemConfig:
    """A behaviour of a model, and the nodes that may carry it."""

    task: str = field(default="agreement", metadata={"positional": True})
    """The behaviour to trace: a file of data/tasks, or a .jsonl or .csv file of your own pairs."""
    model: str = DEFAULT_MODEL
    """The subject model: a hub name or a local folder."""
    sites: str = ""
    """Sites to splice, such as resid_post:5,10; all that have a dictionary of this model when left out."""
    mediators: str = "latents"
    """What the nodes are, a file of circuits/mediators; several, with commas, go to the sites that they suit."""
    positions: str = "auto"
    """Effects of each token position, by role, or their sum: each, role, sum; auto is each where lengths are equal."""
    reference: str = "counterfactual"
    """What a node is set to when it is out of the circuit: a file of circuits/references."""
    metric: str = "logit_difference"
    """What is measured at the last token: a file of circuits/metrics."""
    pairs: int = 128
    """Prompt pairs that the model gets right, half of them held out; a file of your own that has fewer is used whole."""
    batch: int = 32
    """Prompts in one pass."""
    seed: int = 0
    """Seed of the pairs, the random circuits and the bootstrap."""

    def __post_init__(self) -> None:
        at_least(self, pairs=4, batch=1)


@dataclass(frozen=True)
class CircuitConfig(ProblemConfig):
    """Trace a behaviour to a verified circuit of dictionary latents."""

    method: str = "integrated_gradients"
    """How node effects are estimated: a file of circuits/methods."""
    steps: int = 10
    """Midpoint steps of the path integral, for methods that have one."""
    nodes: int = 500
    """Nodes kept in the circuit, over all sites, error nodes counted."""
    edge_nodes: int = 200
    """How many of the most important nodes are joined by edges."""
    verify: int = 100
    """Most important nodes, and edges, verified by exact patching; half as many again are drawn at random from the rest."""
    subsets: int = 16
    """Random subsets of the unverified nodes patched for each pair, to bound what was missed; 0 for no bound."""
    draws: int = 5
    """Random circuits of each size that the evaluation compares with."""
    ablations: str = "zero,mean,resample"
    """What nodes outside the circuit are set to in the evaluation beside --reference: files of circuits/references."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, steps=1, nodes=1, edge_nodes=0, verify=0, draws=1, subsets=0)
        if 0 < self.subsets < 8:
            raise Mistake(f"--subsets {self.subsets} is too few for a test; give at least 8, or 0 for no bound.")


def at_least(config: object, **least: int) -> None:
    """Raises `Mistake` when a field of `config` is smaller than it may be."""
    for name, minimum in least.items():
        if getattr(config, name) < minimum:
            given = f"--{name.replace('_', '-')} {getattr(config, name)}"
            raise Mistake(f"{given} is too few; give at least {minimum}.")
