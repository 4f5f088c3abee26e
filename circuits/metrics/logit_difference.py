"""logit(answer) - logit(counter answer): linear in the residual stream but for the last norm, and never saturated."""

from __future__ import annotations

from torch import Tensor

from circuits.metrics import Aim, of

NAME = "logit difference"
NEEDS_CLEAN = False
ANSWERS_ALONE = True


def score(logits: Tensor, aim: Aim) -> Tensor:
    """The difference [rows]."""
    return of(logits, aim.answers) - of(logits, aim.counter_answers)
