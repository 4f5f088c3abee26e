"""How well judgements tell active windows from silent ones, and how sure that is.

1. AUROC = P(judgement of an active window > that of a silent one) + half the probability of a tie (Hanley and McNeil
   1982): 0.5 is chance, whatever the share of active windows.
2. The control is the AUROC of another feature's explanation on the same windows; what counts is the difference.
3. Intervals are bootstrap percentiles over documents (`bootstrap.py`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from autointerp.bootstrap import Comparison, compared, weights


def auroc(judgements: Float[np.ndarray, " windows"], truth: Bool[np.ndarray, " windows"]) -> float:
    """The area under the ROC curve; NaN when one of the two kinds is missing."""
    return float(weighted_auroc(judgements, truth, np.ones((1, len(truth))))[0])


def weighted_auroc(
    judgements: Float[np.ndarray, " windows"],
    truth: Bool[np.ndarray, " windows"],
    drawn: Float[np.ndarray, "draws windows"],
) -> Float[np.ndarray, " draws"]:
    """The AUROC for each row of window weights; NaN where one of the two kinds has no weight."""
    active, silent = drawn[:, truth], drawn[:, ~truth]
    total = active.sum(1) * silent.sum(1)
    won = np.einsum("ra,as,rs->r", active, _kernel(judgements, truth), silent, optimize=True)
    return np.divide(won, total, out=np.full(len(won), np.nan), where=total > 0)


def compare(
    judgements: Float[np.ndarray, " windows"],
    control: Float[np.ndarray, " windows"] | None,
    truth: Bool[np.ndarray, " windows"],
    documents: Int[np.ndarray, " windows"],
    *,
    seed: int,
) -> Comparison:
    """Value, control and difference with their intervals."""
    drawn = weights(documents, seed)
    rows = [judgements] if control is None else [judgements, control]
    return compared(np.stack([weighted_auroc(row, truth, drawn) for row in rows]))


def _kernel(judgements: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """1 where an active window [rows] is judged above a silent one [columns], one half where they tie."""
    active, silent = judgements[truth][:, None], judgements[~truth][None]
    return (active > silent) + 0.5 * (active == silent)
