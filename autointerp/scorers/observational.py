"""Judges an explanation by new texts: a language model writes some that fit and some that nearly do; the feature is read.

The observational mode of Huang et al. 2023 (*Rigorously Assessing Natural Language Explanations of Neurons*,
arXiv:2309.10312), in a form of our own:

1. The endpoint's model is asked for `texts` short texts on which a feature so explained should be active, and as many near
   misses, alike in subject and wording, to which the explanation does not apply. It sees the explanation alone.
2. The dictionary's own model reads them. The feature is active in a text when it exceeds `share` of its largest activation
   in the harvest at some token; massive tokens are left out, as in the harvest.
3. "Active on all texts that fit, and on no others" is the claim: precision is the share of active texts that fit, recall
   the share of fitting texts that are active; the score is their F1, 2 TP / (2 TP + FP + FN). A text is a trial.
4. The control is the other explanation's own texts, read by the same feature. Chance is the F1 if activity had nothing to
   do with fit: 2 a p / (a + p), with a the share of active texts and p of fitting ones.

A writer may misjudge its own near misses: what is scored is explanation and writer together, and so is the control.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from autointerp.bootstrap import estimate, weights
from autointerp.judgements import Outcome, Question
from autointerp.llm import Answer, Request
from autointerp.steering import Steered, Subjects
from autointerp.tools import Tools
from data.errors import Mistake

NEEDS_ENDPOINT = True
CALIBRATED = False
NEEDS_SUBJECT = True
LEAST = 3
"""Texts of either kind below which there is no score."""
LONGEST = 400
"""Characters of a text that are read."""
SYSTEM = """A feature of a language model is described by "explanation". Write {count} short passages (5 to 30 words) on \
which it should be active, and {count} near misses: passages as alike in subject and wording as you can make them, to \
which the explanation does not apply. Vary them. Answer with JSON: {{"fit": [passages], "near": [near misses]}}."""


@dataclass(frozen=True)
class Options:
    """How many texts, and when the feature counts as active."""

    texts: int = 10
    """Texts of either kind for each explanation."""
    share: float = 0.1
    """Share of the feature's largest activation in the harvest above which it is active in a text."""

    def __post_init__(self) -> None:
        if self.texts < LEAST or not 0 <= self.share < 1:
            raise Mistake(
                f"texts is {self.texts} and share {self.share:g}; at least {LEAST} texts are needed, and a share below 1."
            )


@dataclass(frozen=True)
class Written:
    """What was written for one explanation: texts, whether each should fit, and why there are none."""

    texts: tuple[str, ...]
    fits: Bool[np.ndarray, " texts"]
    error: str = ""


def judge(questions: Sequence[Question], tools: Tools, options: Options) -> Iterator[Outcome]:
    """One outcome a question, in order."""
    steered = Subjects(tools.workspace)
    answers = tools.client.answers(request(text, options.texts) for q in questions for text in q.texts)
    for question in questions:
        written = [read(next(answers)) for _ in question.texts]
        yield _outcome(question, written, steered, options, tools.seed)
        tools.advance()


def request(text: str, count: int) -> Request:
    """The question for texts that fit `text`, and for some that nearly do."""
    items = {"type": "array", "items": {"type": "string"}, "minItems": count, "maxItems": count}
    schema = {
        "type": "object",
        "properties": {"fit": items, "near": items},
        "required": ["fit", "near"],
        "additionalProperties": False,
    }
    content = json.dumps({"explanation": text}, ensure_ascii=False)
    return Request(SYSTEM.format(count=count), content, schema, tokens=100 + 120 * count)


def read(answer: Answer) -> Written:
    """The texts in an answer, each once; a text of both kinds is neither."""
    nothing = np.zeros(0, dtype=bool)
    if answer.state != "ok":
        return Written((), nothing, f"{answer.state}: {answer.reason}")
    fit, near = (_texts((answer.value or {}).get(name)) for name in ("fit", "near"))
    both = set(fit) & set(near)
    fit, near = ([text for text in some if text not in both] for some in (fit, near))
    if min(len(fit), len(near)) < LEAST:
        return Written(
            (), nothing, f"parse_failed: {len(fit)} texts that fit and {len(near)} near misses; {LEAST} are needed"
        )
    return Written((*fit, *near), np.arange(len(fit) + len(near)) < len(fit))


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        return []
    return list(dict.fromkeys(text.strip()[:LONGEST] for text in value if isinstance(text, str) and text.strip()))


@torch.no_grad()
def peaks(steered: Steered, latent: int, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
    """The largest activation of `latent` in each text."""
    subject, dictionary = steered.subject, steered.dictionary
    found: list[float] = []
    for text in texts:
        ids = torch.tensor([[*subject.prefix, *subject.tokenize(text)]], device=subject.device)
        values = subject.read(ids, [dictionary.site])[dictionary.site][0, len(subject.prefix) :].float()
        ordinary = values.norm(dim=-1) <= dictionary.massive_norm
        active = dictionary.encode(values)[:, latent] * ordinary
        found.append(float(active.max()) if len(active) else 0.0)
    return np.array(found)


def _outcome(
    question: Question, written: Sequence[Written], steered: Mapping[str, Steered], options: Options, seed: int
) -> Outcome:
    failures = [one.error for one in written if one.error]
    if question.feature is None or question.reader is None or written[0].error:
        none = np.zeros(0, dtype=np.int64)
        missing = failures or ["no feature: the question is about a text alone, and there is nothing to read"]
        return Outcome(none, lambda drawn: np.full((len(written), len(drawn)), np.nan), 0.0, missing, measure="F1")
    own, latent = steered[question.feature.dictionary], question.feature.latent
    bar = options.share * float(np.max(question.reader.firings(latent).value, initial=0.0))
    found = [peaks(own, latent, one.texts) for one in written]
    active = np.concatenate(found) > bar
    fits = np.concatenate([one.fits for one in written])
    of = np.repeat(np.arange(len(written)), [len(one.texts) for one in written])

    def statistic(drawn: Float[np.ndarray, "draws trials"]) -> Float[np.ndarray, "texts draws"]:
        return np.stack([measures(fits, active, drawn * (of == text))[2] for text in range(len(written))])

    details = _details(written, found, active, fits, of, seed) | {"bar": round(bar, 4)}
    return Outcome(np.arange(len(of)), statistic, _chance(fits[of == 0], active[of == 0]), failures, [], details, "F1")


def measures(
    fits: Bool[np.ndarray, " trials"], active: Bool[np.ndarray, " trials"], drawn: Float[np.ndarray, "draws trials"]
) -> Float[np.ndarray, "three draws"]:
    """Precision, recall and F1 under trials' weights; NaN where nothing is active, nothing fits, or neither."""
    hits, said, right = (drawn[:, which].sum(1) for which in (fits & active, active, fits))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([hits / said, hits / right, 2 * hits / (said + right)])


def _chance(fits: np.ndarray, active: np.ndarray) -> float:
    share, rate = float(active.mean()), float(fits.mean())
    return 2 * share * rate / (share + rate)


def _details(
    written: Sequence[Written],
    found: Sequence[np.ndarray],
    active: np.ndarray,
    fits: np.ndarray,
    of: np.ndarray,
    seed: int,
) -> dict[str, Any]:
    """Precision and recall with their intervals, and every text with what it was meant to be and what it did."""
    own = of == 0
    trials = int(own.sum())
    draws = measures(fits[own], active[own], weights(np.arange(trials), seed))
    estimates = [estimate(row, trials) for row in draws[:2]]
    texts = [
        {"text": text, "fits": bool(fit), "peak": round(float(peak), 4)}
        for text, fit, peak in zip(written[0].texts, written[0].fits, found[0], strict=True)
    ]
    named = zip(("precision", "recall"), estimates, strict=True)
    return {name: [_plain(e.value), _plain(e.lower), _plain(e.upper)] for name, e in named} | {"texts": texts}


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
