"""What is measured at the end: one number per prompt, larger the more the model behaves as on the clean one. One file each.

A part has `score(logits, aim)`, `NAME`, the words that tables and pages use, and `ANSWERS_ALONE`, whether it looks at the
logits of the two answers and at no others. On which to choose: Zhang and Nanda 2023
(arXiv 2309.16042, section 4): logit differences by default; probabilities saturate and miss negative parts; KL as a check.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Aim:
    """What rows of logits are scored by: the answer, the counterfactual's answer, and the clean prompt's own logits."""

    answers: Int[Tensor, " rows"]
    counter_answers: Int[Tensor, " rows"]
    clean: Float[Tensor, "rows vocab"] | None = None
    """Only for a metric that says `NEEDS_CLEAN`."""


def of(logits: Float[Tensor, "rows vocab"], tokens: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """Each row's value at its token."""
    return logits.gather(1, tokens[:, None]).squeeze(1)
