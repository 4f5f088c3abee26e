"""Explains a feature by the executable rule that best says where it fires; no model.

1. Kinds of rule (`autointerp/rules`) learn from all firings of the `explain` half; the rule with the best F1 (or mutual
   information) at the feature's own rate stays, and its phrase is the explanation (`learning.py`).
2. What it is worth on all documents of the `score` half stands in the explanation's row, with intervals and a control, as
   it does beside every other explainer's text (`exact.py`).

What any other explanation should beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autointerp.cases import Case, Explained
from autointerp.examples import TooFew
from autointerp.learning import Learnt, learn, seen_of
from autointerp.tools import Tools
from data.errors import Mistake

BEST = 5
"""Rules kept in the details."""


@dataclass(frozen=True)
class Options:
    """How rules are compared and joined."""

    by: str = "f1"
    """f1, or information: of the rule with the firings, in bits."""
    most: int = 8
    """Tokens or words in a set at the most."""
    beam: int = 4
    """Rules that are tried in pairs; 0 leaves single ones."""

    def __post_init__(self) -> None:
        if self.by not in ("f1", "information"):
            raise Mistake(f"by is {self.by!r}; a rule can be chosen by f1 or by information.")
        if self.most < 1:
            raise Mistake(f"most is {self.most}; a rule has at least 1 token or word.")


def explain(cases: Sequence[Case], tools: Tools, options: Options) -> Iterator[Explained]:
    """One explanation a case."""
    for case in cases:
        yield _explain(case, options)
        tools.advance()


def _explain(case: Case, options: Options) -> Explained:
    try:
        shown = case.shown
    except TooFew as reason:
        return Explained(case.feature, error=str(reason))
    found = rules(case, options)
    if not found:
        return Explained(case.feature, error="nothing stands out: no rule fires where it fires")
    details = {"rule": found[0].rule.record(), "candidates": [one.record() for one in found[:BEST]]}
    return Explained(case.feature, text=found[0].rule.text, details=details | {"shown": [w.record() for w in shown]})


def rules(case: Case, options: Options) -> list[Learnt]:
    """The rules that fit the case's firings in its `explain` half, best first."""
    seen = seen_of(case.reader, case.feature.latent, most=options.most)
    return learn(seen, by=options.by, beam=options.beam)
