"""What `lacewing clusters` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from circuits.config import at_least
from data.config import DEFAULT_MODEL, WorkersConfig
from data.errors import Mistake


@dataclass(frozen=True)
class ClustersConfig(WorkersConfig):
    """Find behaviours without a task: cluster contexts that the model predicts well, and trace a circuit of each."""

    model: str = DEFAULT_MODEL
    """The subject model: a hub name or a local folder."""
    sites: str = ""
    """Sites to splice, such as resid_post:5,10; all that have a dictionary of this model when left out."""
    text: str | None = None
    """A .txt, .jsonl or .parquet file of text, or a hub dataset; none: the public-domain sample that comes along."""
    contexts: int = 2000
    """How many contexts to cluster."""
    length: int = 32
    """Tokens in a block of text, prefix counted; a context is the first part of one."""
    below: float = 0.3
    """A next token counts as predicted well below this cross-entropy, in nats."""
    vectors: str = "effects"
    """What contexts are compared by: a file of circuits/vectors."""
    clusters: int = 100
    """How many clusters to make."""
    reference: str = "mean"
    """What a node is set to when it is out of the circuit: mean, resample or zero."""
    steps: int = 3
    """Midpoint steps of the path integral for each cluster's circuit."""
    nodes: int = 100
    """Nodes kept in each cluster's circuit, over all sites."""
    draws: int = 3
    """Random circuits of the same size that faithfulness is compared with."""
    batch: int = 32
    """Contexts in one pass."""
    seed: int = 0
    """Seed of everything drawn at random."""

    def __post_init__(self) -> None:
        at_least(self, contexts=20, length=8, clusters=2, steps=1, nodes=1, draws=1, batch=1)
        if self.clusters * 4 > self.contexts:
            raise Mistake(
                f"--clusters {self.clusters} of --contexts {self.contexts} leaves fewer than four contexts a cluster, too "
                f"few to trace and to test a circuit. Ask for at most {self.contexts // 4} clusters."
            )
        if self.below <= 0:
            raise Mistake(f"--below {self.below} leaves no token; a cross-entropy is above 0, so give .1 to 1.")
