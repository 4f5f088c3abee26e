"""Judges an explanation by the cosine between its sentence vector and each window's.

1. Explanation and windows go through MiniLM (`embedder.py`), without any instruction in front.
2. The judgement is their cosine, as in the embedding score of Paulo et al. 2024 (arXiv:2410.13928).

A screening score: it hears topics, and is nearly deaf to grammar, order and position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autointerp.embedder import NAME
from autointerp.judgements import Judgement, Question
from autointerp.tools import Tools
from data.parts import NoOptions

NEEDS_ENDPOINT = False
CALIBRATED = True


def judge(questions: Sequence[Question], tools: Tools, _: NoOptions) -> Iterator[Judgement]:
    """One judgement a question, in order."""
    for question in questions:
        vectors = tools.embedder([*question.texts, *(w.text for w in question.windows)])
        texts, windows = vectors[: len(question.texts)], vectors[len(question.texts) :]
        yield Judgement(texts @ windows.T)
        tools.advance()


def model(_: Tools) -> str:
    """Who judges."""
    return NAME
