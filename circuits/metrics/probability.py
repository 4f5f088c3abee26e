"""The probability of the answer."""

from __future__ import annotations

from torch import Tensor

from circuits.metrics import Aim, of

NAME = "probability"
NEEDS_CLEAN = False
ANSWERS_ALONE = False


def score(logits: Tensor, aim: Aim) -> Tensor:
    """The probability, 0 to 1 [rows]."""
    return of(logits.softmax(-1), aim.answers)
