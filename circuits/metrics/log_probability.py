"""The log-probability of the answer, in nats: what prompts without a counterfactual answer are scored by."""

from __future__ import annotations

from torch import Tensor

from circuits.metrics import Aim, of

NAME = "log-probability"
NEEDS_CLEAN = False
ANSWERS_ALONE = False


def score(logits: Tensor, aim: Aim) -> Tensor:
    """The log-probability, 0 at most [rows]."""
    return of(logits.log_softmax(-1), aim.answers)
