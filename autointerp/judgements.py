"""What a scorer is given and gives back.

A scorer is a file of `autointerp/scorers` with

    def judge(questions: Sequence[Question], tools: Tools) -> Iterator[Judgement]

that yields one `Judgement` a question, in order: how well each text fits each window, on any scale on which more is
better, NaN where no judgement was had. What is made of the judgements (AUROC, control, intervals) is not its business:
`score.py` does that alike for all. `NEEDS_ENDPOINT = True` marks those that ask a language-model endpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from autointerp.examples import Window


@dataclass(frozen=True)
class Question:
    """Texts to be compared with the same windows: an explanation first, then its control if there is one."""

    texts: tuple[str, ...]
    windows: Sequence[Window]


@dataclass(frozen=True)
class Judgement:
    """How well each text fits each window; a reason for each failure; remarks that readers should see."""

    values: Float[np.ndarray, "texts windows"]
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
