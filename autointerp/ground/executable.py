"""Explanations as programs: what an explainer says about a planted feature, run and compared with its rule.

1. An explanation that is a rule says so itself (`details["rule"]`). A phrase made by counting is one when it is taken at
   its word: "the words ..." is a set, "words that come after ..." a rule of what stands before, and so on.
2. It is run over the documents that no explainer saw, and compared with the planted rule, noise left out; its control is
   another planted feature's firings.
3. Prose is no program; it gets no F1. But every text can be recognised: its sentence vector is nearest, of all planted
   features' right labels, to its own feature's. The chance of that is one in their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from autointerp.cases import Explained
from autointerp.ground.corpus import Corpus
from autointerp.ground.ladder import agreement
from autointerp.ground.making import any_of, make
from autointerp.ground.planted import Planted
from autointerp.rule import Rule


def rule_of(explained: Explained) -> Rule | None:
    """The program that an explanation is; None for prose."""
    if record := explained.details.get("rule"):
        return Rule.of(record)
    named = [c for c in explained.details.get("candidates", []) if c.get("text") == explained.text]
    return candidate_rule(named[0]) if named else None


def candidate_rule(candidate: Mapping[str, Any]) -> Rule | None:
    """The program that a phrase made by counting is (`candidates.py`); None for one that fires by what comes after."""
    words = [str(word) for word in candidate.get("words", [])]
    read = READINGS.get(str(candidate.get("source")))
    return read(words) if read and (words or candidate["source"] in WORDLESS) else None


READINGS: Mapping[str, Callable[[list[str]], Rule]] = {
    "at": lambda words: make("set", tokens=words, unit="word"),
    "before": lambda words: make("previous", items=words),
    "pair": lambda words: any_of(*(make("ngram", items=pair.split()) for pair in words)),
    "around": lambda words: make("topic", name="these words", words=words, reach=16, least=1),
    "numbers": lambda _: make("kind", name="numbers", unit="word"),
    "punctuation": lambda _: make("kind", name="punctuation", unit="word"),
    "capitals": lambda _: make("kind", name="capitals", unit="word"),
    "first": lambda _: make("position", first=3),
}
"""How each source of candidates is read."""
WORDLESS = ("numbers", "punctuation", "capitals", "first")


def worth(corpus: Corpus, feature: Planted, rule: Rule) -> dict[str, float]:
    """Precision, recall and F1 of `rule` for a planted feature, and as control its F1 for a foreign one."""
    said = corpus.fires(rule)[corpus.scored]
    own, other = (corpus.fires(one)[corpus.scored] for one in (feature.rule, feature.shuffled))
    precision, recall, f1 = agreement(own, said)
    return {"precision": precision, "recall": recall, "f1": f1, "control": agreement(other, said)[2]}


def recognised(
    texts: Mapping[int, str], right: Sequence[str], embed: Callable[[list[str]], np.ndarray]
) -> dict[int, bool]:
    """For each text, by feature, whether the `right` label nearest to it (by cosine of unit vectors) is its feature's."""
    if not texts:
        return {}
    vectors = embed([*texts.values(), *right])
    nearest = (vectors[: len(texts)] @ vectors[len(texts) :].T).argmax(1)
    return {latent: bool(found == latent) for latent, found in zip(texts, nearest.tolist(), strict=True)}
