"""Minus the divergence KL(clean || this) of the next token's distribution, in nats: 0 when nothing has changed.

Its gradient at the clean prompt is zero, so attribution patching sees nothing through it; integrated gradients do.
"""

from __future__ import annotations

from torch import Tensor

from circuits.metrics import Aim

NAME = "minus KL"
NEEDS_CLEAN = True
ANSWERS_ALONE = False


def score(logits: Tensor, aim: Aim) -> Tensor:
    """Minus the divergence, 0 at most [rows]."""
    assert aim.clean is not None
    clean = aim.clean.log_softmax(-1)
    return -(clean.exp() * (clean - logits.log_softmax(-1))).sum(-1)
