"""Which of a feature's scores stands for it where only one is shown, as SQL over `scores s` and `explanations e`.

1. AUROCs come first: they have one unit, where nats of likelihood, correlations and accuracies have each their own, and a
   gain of 2 nats need not be more than one of .3 in AUROC. Where a feature has none, or the scorer is chosen, the others
   are shown.
2. Of these the one that beats its control by most; then the highest. Rows without a statistic are of older workspaces.
"""

from __future__ import annotations

COMPARABLE = "coalesce(s.statistic, 'auroc') = 'auroc'"
FIRST = (
    f"(s.value is not null and {COMPARABLE}) desc, s.difference desc nulls last, s.value desc nulls last, e.explanation"
)
