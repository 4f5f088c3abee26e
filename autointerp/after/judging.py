"""How well texts fit windows, by any scorer that judges windows as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool

from autointerp.judgements import Judgement, Question
from autointerp.tools import Tools
from data import parts
from data.errors import Mistake
from data.parts import Choice

SCORERS = "autointerp.scorers"
USUAL = ("embedding", "surprisal", "detection")


class Unjudged(Exception):
    """Too few windows were judged; the message is stored as the finding's error."""


def scorer_of(text: str) -> Choice:
    """The one scorer that `text` names, with its settings. Raises `Mistake` when it names several, or an unknown one."""
    found = parts.choices(SCORERS, text)
    if len(found) > 1:
        raise Mistake(f"{text!r} names {len(found)} scorers; here there is one. Run it for each.")
    return found[0]


def judgements(scorer: Choice, questions: Sequence[Question], tools: Tools) -> Iterator[Judgement]:
    """The scorer's answers, in order. Raises `Mistake` when it is not one that judges windows as they are."""
    for question, answer in zip(
        questions, parts.load(SCORERS, scorer.name).judge(questions, tools, scorer.options), strict=True
    ):
        if not isinstance(answer, Judgement) or answer.values.shape[1] != len(question.windows):
            raise Mistake(
                f"The scorer {scorer.label!r} does not say how well a text fits each window. "
                f"Choose one that does: {', '.join(USUAL)}."
            )
        yield answer


def known(answer: Judgement) -> Bool[np.ndarray, " windows"]:
    """Which windows have a judgement of every text. Raises `Unjudged` when half of them or more have none."""
    found = np.atleast_1d(~np.isnan(answer.values).any(0))
    if len(found) and found.mean() > 0.5:
        return found
    why = "; ".join(sorted(set(answer.failures))[:3]) or "no judgement"
    raise Unjudged(f"{int((~found).sum())} of {len(found)} windows were not judged: {why}")
