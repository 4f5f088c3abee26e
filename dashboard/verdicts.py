"""Which windows a scorer judged right.

1. A judgement is a number on the scorer's own scale, more meaning a better fit, or a plain yes or no.
2. Numbers are cut at the base rate: of n windows in which the feature is active, the n best-fitting are taken as "yes".
   That asks no scale of a scorer, just as its AUROC does not.
3. A window without a judgement has no verdict; it is neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """One judged window: where it is, whether the feature is active in it, and what the scorer made of it."""

    document: int
    start: int
    length: int
    truth: bool
    said: bool
    judgement: float

    @property
    def right(self) -> bool:
        return self.truth == self.said


def verdicts(windows: Sequence[Mapping[str, Any]], length: int = 32) -> list[Verdict]:
    """A verdict for each window that was judged, the wrong ones first, each kind by how well the text fits."""
    judged = [w for w in windows if w.get("judgement") is not None and {"truth", "document", "start"} <= w.keys()]
    yes = _yes(judged)
    found = [
        Verdict(w["document"], w["start"], w.get("length", length), bool(w["truth"]), n in yes, float(w["judgement"]))
        for n, w in enumerate(judged)
    ]
    return sorted(found, key=lambda v: (v.right, -v.judgement))


def _yes(judged: Sequence[Mapping[str, Any]]) -> set[int]:
    """The indices of the windows that are taken as judged active."""
    if all(isinstance(w["judgement"], bool) for w in judged):
        return {n for n, w in enumerate(judged) if w["judgement"]}
    active = sum(bool(w["truth"]) for w in judged)
    return set(sorted(range(len(judged)), key=lambda n: -judged[n]["judgement"])[:active])
