"""What a scorer is given and gives back.

A scorer is a file of `autointerp/scorers` with

    def judge(questions: Sequence[Question], tools: Tools, options: Options) -> Iterator[Judgement | Outcome]

(and a frozen dataclass `Options`, if it has settings, else `data.parts.NoOptions` comes) that yields one answer a question,
in order. There are two kinds of answer:

1. A `Judgement` says how well each text fits each of the question's windows (or other things that were judged), on any
   scale on which more is better, NaN where no judgement was had. `assess.py` makes the same of all of them: AUROC, control,
   difference, rates, intervals.
2. An `Outcome` is for scores that are no ranking of windows (a correlation over tokens, a mean over prompts): trials, each
   of one document, and the score of each text as a function of the trials' weights, so that it can be bootstrapped alike.

`NEEDS_ENDPOINT = True` marks those that ask a language-model endpoint, `CALIBRATED = True` those that read nothing but
texts and windows, so that they can be asked about planted features (`calibration.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from autointerp.examples import Reader, Window
from data.words import Feature


@runtime_checkable
class Item(Protocol):
    """Something that is judged; windows are such."""

    @property
    def document(self) -> int:
        """Documents are drawn in the bootstrap."""
        ...

    @property
    def active(self) -> bool:
        """The truth: whether it should be judged above the others."""
        ...

    @property
    def kind(self) -> str:
        """`active`, or what kind of item that should be judged low it is."""
        ...

    @property
    def quantile(self) -> int:
        """The stratum of the feature's strength, 0 the weakest; -1 without one."""
        ...

    def record(self) -> dict[str, Any]:
        """It as JSON, for the `details` of a row."""
        ...


@dataclass(frozen=True)
class Question:
    """Texts to be compared with the same windows: an explanation first, then its control if there is one."""

    texts: tuple[str, ...]
    windows: Sequence[Window]
    feature: Feature | None = None
    """The feature that the first text explains; None where it was made up, as in a test of a scorer."""
    reader: Reader | None = None
    """The harvest that the windows are from; None likewise."""
    strangers: Sequence[Window] = ()
    """Active windows of other features of the run, for controls that need no text."""


@dataclass(frozen=True)
class Judgement:
    """How well each text fits each item; a reason for each failure; remarks that readers should see."""

    values: Float[np.ndarray, "texts items"]
    failures: list[str] = field(default_factory=list)
    """`state: reason` of each request without a usable answer."""
    remarks: list[str] = field(default_factory=list)
    items: Sequence[Item] | None = None
    """What was judged, where it is not the question's windows."""
    threshold: float | None = None
    """Above it a judgement is a yes; None on a scale that has no such place of its own."""
    agreement: float | None = None
    """The share of equal verdicts when it was asked again in another order."""
    degenerate: bool = False
    """Whether the judge's answers hardly depend on what it is asked."""
    usage: dict[str, int] = field(default_factory=dict)
    """Tokens in and out, and requests."""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A score that is a statistic of trials."""

    documents: Int[np.ndarray, " trials"]
    """Which document each trial is of: documents are drawn in the bootstrap."""
    statistic: Callable[[Float[np.ndarray, "draws trials"]], Float[np.ndarray, "texts draws"]]
    """The score of each text when trials have these weights; NaN where it is not defined."""
    chance: float = 0.0
    """What a text that says nothing would score."""
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    """What readers may want to see: each trial, as JSON."""
    measure: str = "score"
    """What the statistic is called: correlation, accuracy ..."""
    agreement: float | None = None
    """The share of equal verdicts when it was asked again in another order."""
    degenerate: bool = False
    """Whether the judge's answers hardly depend on what it is asked."""
    usage: dict[str, int] = field(default_factory=dict)
    """Tokens in and out, and requests."""
