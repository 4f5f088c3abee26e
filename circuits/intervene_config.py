"""What `lacewing intervene` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from circuits.config import ProblemConfig, at_least
from data.errors import Mistake, unknown

ATTENTION = ("free", "frozen")


@dataclass(frozen=True)
class InterveneConfig(ProblemConfig):
    """Change nodes of a running model: logits, metric and text before and after, beside what was predicted."""

    nodes: str = ""
    """Nodes with commas between (resid_post:10/latent:7, at one place resid_post:10/latent:7@4), or a file of them."""
    circuit: str = ""
    """A circuit: its task, dictionaries and other options are taken over where left at their default."""
    first: int = 20
    """How many of the circuit's most important nodes to change, where --nodes names none."""
    do: str = "ablate"
    """What to do to them: a file of circuits/interventions."""
    amount: float | None = None
    """The factor to scale by, the value to clamp to, or what to add."""
    reference: str = ""
    """What ablated nodes are set to: a file of circuits/references; counterfactual, or zero for prompts without one."""
    attention: str = "free"
    """free: attention patterns react; frozen: they stay as they were without the intervention."""
    prompt: str = ""
    """A text instead of the task's held-out pairs."""
    counterfactual: str = ""
    """The prompt's counterfactual, of as many tokens."""
    answers: str = ""
    """The token that should follow the prompt, and the one to compare it with: " are| is"; none: what the model says."""
    generate: int = 0
    """How many tokens to write after one prompt, without and with the intervention."""
    control: str = ""
    """Another task, to see whether it stays; the nodes are changed at all its positions."""
    draws: int = 5
    """How many times as many random live nodes are changed in their place, for comparison."""
    steps: int = 10
    """Steps of the prediction's path from the prompt's own values to the changed ones; 0: the gradient at the prompt."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, first=1, generate=0, draws=1, steps=0)
        if self.attention not in ATTENTION:
            raise unknown("kind of attention", self.attention, ATTENTION)
        if not self.prompt and (self.counterfactual or self.answers):
            raise Mistake("--counterfactual and --answers belong to a --prompt of your own, which is missing.")
