"""Judges an explanation by how much it makes each window less surprising to a small language model.

1. The judgement is log p(window | explanation) - log p(window | nothing said), in nats (`likelihood.py`): the surprisal
   score of Paulo et al. 2024 (arXiv:2410.13928) in a form of our own.

A screening score: right for topics and words, weak for negation, order and position. Always read it beside its control.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autointerp.judgements import Judgement, Question
from autointerp.tools import Tools
from data.parts import NoOptions

NEEDS_ENDPOINT = False
CALIBRATED = True


def judge(questions: Sequence[Question], tools: Tools, _: NoOptions) -> Iterator[Judgement]:
    """One judgement a question, in order."""
    for question in questions:
        yield Judgement(tools.likelihood.gains(question.texts, [w.text for w in question.windows]))
        tools.advance()


def model(tools: Tools) -> str:
    """Who judges."""
    return tools.judge
