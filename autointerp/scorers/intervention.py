"""Judges an explanation by what its feature makes the model say: is the label more probable after text that was steered?

The intervention score of Paulo et al. 2024 (arXiv:2410.13928), in a form of our own:

1. Prompts are text of the `score` half up to a token at which the feature fires, one a document, equally from strata of
   strength. The feature is steered along its decoder from that token on (`steering.py`).
2. How far is decided on other prompts, of the `explain` half: until KL(clean || changed) at the last token is `kl`.
3. Each prompt is gone on with `samples` times, clean and changed, with the same random numbers.
4. S = mean over prompts of [log p(label | prompt, changed text) - log p(label | prompt, clean text)] under the local judge
   (`naming.py`), in nats; 0 is chance. Trials are prompts.
5. Two controls: another feature's label on the same texts (`control`), and the same label on texts that random live latents
   of the dictionary brought about at the same strength (`details.random`, with the paired difference).

It is about the output side: a feature that is well explained by where it fires may score nothing here, and the reverse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from autointerp import naming, steering
from autointerp.bootstrap import clusters, estimate, weights
from autointerp.examples import FEWEST, Reader, Window
from autointerp.judgements import Outcome, Question
from autointerp.steering import Prompts, Steered, Subjects
from autointerp.tools import Tools
from data.errors import Mistake
from data.store import Workspace
from data.words import Estimate, digest

NEEDS_ENDPOINT = False
CALIBRATED = False
NEEDS_SUBJECT = True
"""It runs the model that the dictionary is of."""
LENGTHS = (24, 12, 6)
"""Tokens of a prompt: the longest at which there are enough of them."""
SHOWN = 3
"""Texts kept in the details."""


@dataclass(frozen=True)
class Options:
    """How much is steered, and how far."""

    prompts: int = 16
    """Prompts scored for a feature."""
    tuning: int = 8
    """Other prompts, on which the strength is found."""
    samples: int = 4
    """Texts written after each prompt, clean and changed."""
    tokens: int = 8
    """Tokens written."""
    random: int = 3
    """Random live latents steered to the same strength, as a control."""
    kl: float = steering.STRENGTH
    """The strength of the change: KL(clean || changed) at the last token of the prompt, in nats."""

    def __post_init__(self) -> None:
        for name in ("prompts", "tuning", "samples", "tokens"):
            if getattr(self, name) < 1:
                raise Mistake(f"{name} is {getattr(self, name)}; the intervention score needs at least 1.")
        if self.kl <= 0 or self.random < 0:
            raise Mistake(f"kl is {self.kl} and random {self.random}; kl must be above 0 and random at least 0.")


@dataclass(frozen=True, eq=False)
class Told:
    """What steering did: texts [changes, prompts, samples], the feature's first, then random latents'; clean ones apart."""

    clean: np.ndarray
    changed: np.ndarray
    strength: float
    """KL that the feature's change has on the prompts that are scored."""
    amounts: list[float]
    latents: list[int]
    """Those whose texts are there."""


class Unsteered(Exception):
    """A feature cannot be steered; the message is stored as the row's error."""


def judge(questions: Sequence[Question], tools: Tools, options: Options) -> Iterator[Outcome]:
    """One outcome a question, in order."""
    subjects = Subjects(tools.workspace)
    for question in questions:
        try:
            yield _outcome(question, tools, options, subjects)
        except Unsteered as reason:
            yield nothing(str(reason))
        tools.advance()


def model(tools: Tools) -> str:
    """Who judges."""
    return tools.judge


def nothing(reason: str) -> Outcome:
    """The outcome of a question that has no trials."""
    return Outcome(np.zeros(0, np.int64), lambda drawn: np.full((1, len(drawn)), np.nan), failures=[reason])


def _outcome(question: Question, tools: Tools, options: Options, subjects: Mapping[str, Steered]) -> Outcome:
    if question.feature is None or question.reader is None:
        raise Unsteered("no feature: the question is about a text alone, and there is nothing to steer")
    feature, seed = question.feature, int(digest("steer", tools.seed, str(question.feature), length=8), 16)
    steered = subjects[feature.dictionary]
    tuning, scored = prompts(question.reader, feature.latent, (options.tuning, options.prompts), seed)
    latents = [feature.latent, *random_latents(tools.workspace, steered, feature.latent, options.random, seed)]
    told = tell(steered, tuning, scored, latents, options, seed)
    gains = _gains(question.texts, told, tools)
    documents = np.array([w.document for w in scored], dtype=np.int64)
    details = _details(told, gains, documents, options, tools.seed) | {"prompts": [w.record() for w in scored]}
    return Outcome(documents, lambda drawn: _means(gains[0], drawn), 0.0, [], [], details, measure="nats gained")


def _means(gains: Float[np.ndarray, "texts trials"], drawn: Float[np.ndarray, "draws trials"]) -> np.ndarray:
    return gains @ drawn.T / drawn.sum(1)


def prompts(reader: Reader, latent: int, counts: tuple[int, int], seed: int) -> tuple[list[Window], list[Window]]:
    """At most `counts` windows of the `explain` and of the `score` half, all of one length, that end where `latent` fires.

    Raises `Unsteered` when a half has fewer than `FEWEST` documents with such a place.
    """
    found: list[list[Window]] = []
    for length in LENGTHS:
        halves = zip(("explain", "score"), counts, strict=True)
        found = [ending(reader, latent, half, count, length, seed) for half, count in halves]
        if min(map(len, found)) >= min(FEWEST, *counts):
            return found[0], found[1]
    raise Unsteered(
        f"too rare: it fires at the end of {LENGTHS[-1]} tokens in {len(found[0])} documents of the explain half and "
        f"{len(found[1])} of the score half; {FEWEST} of each are needed"
    )


def ending(reader: Reader, latent: int, half: str, count: int, length: int, seed: int) -> list[Window]:
    """At most `count` windows of `length` tokens that end where `latent` fires most in a document of `half`.

    One a document, drawn from as many equal-count strata of strength.
    """
    firings = reader.firings(latent)
    inside = np.array([reader.half[d] == half for d in firings.document.tolist()], dtype=bool)
    places = np.flatnonzero(inside & (firings.position >= length - 1))
    strongest = places[np.argsort(-firings.value[places], kind="stable")]
    first = np.sort(np.unique(firings.document[strongest], return_index=True)[1])
    draw = np.random.default_rng([seed, length, len(half)])
    chosen = [draw.choice(stratum) for stratum in np.array_split(strongest[first], count) if len(stratum)]
    starts = [(int(firings.document[at]), int(firings.position[at]) - length + 1) for at in chosen]
    return [reader.window(document, start, length, firings) for document, start in starts]


def random_latents(workspace: Workspace, steered: Steered, latent: int, count: int, seed: int) -> list[int]:
    """`count` other latents of the dictionary that fire somewhere in the harvest, drawn by `seed`."""
    with workspace.read() as db:
        rows = db.execute(
            "select latent from features where dictionary = ? and density > 0 and latent <> ? order by latent",
            [steered.dictionary.digest, latent],
        ).fetchall()
    alive = [row[0] for row in rows]
    return np.random.default_rng(seed).permutation(alive)[:count].tolist()


def tell(
    steered: Steered,
    tuning: Sequence[Window],
    scored: Sequence[Window],
    latents: list[int],
    options: Options,
    seed: int,
) -> Told:
    """What the model writes after the prompts `scored`, with each of `latents` at the strength found on `tuning`.

    Raises `Unsteered` when the first of them, the feature's own, reaches that strength at no amount.
    """
    along = steered.directions(latents)
    found = steering.strengths(_prompts(steered, tuning), along, options.kl)
    if found.amounts[0].isnan():
        raise Unsteered(
            f"no effect: no amount brings KL to {options.kl:g}; the nearest is {float(found.reached[0]):.2g} nats"
        )
    kept = [place for place, amount in enumerate(found.amounts.tolist()) if amount == amount]
    opened = _prompts(steered, scored)
    changes = torch.cat([torch.zeros_like(along[:1]), found.amounts[kept, None].to(along) * along[kept]])
    written = steering.write(opened, changes, tokens=options.tokens, samples=options.samples, seed=seed)
    texts = _texts(steered, opened.ids, written)
    logs = opened.next(changes[:2])
    strength = float(steering.divergence(logs[0], logs[1:]).mean())
    return Told(texts[0], texts[1:], strength, found.amounts[kept].tolist(), [latents[place] for place in kept])


def _prompts(steered: Steered, windows: Sequence[Window]) -> Prompts:
    ids = torch.tensor([[*steered.subject.prefix, *window.ids] for window in windows])
    return Prompts(steered.subject, steered.site, ids)


def _texts(
    steered: Steered,
    ids: Int[torch.Tensor, "prompts pos"],
    written: Int[torch.Tensor, "changes prompts samples tokens"],
) -> np.ndarray:
    """Each prompt with what was written after it."""
    before = ids[:, None].cpu().expand(-1, written.shape[2], -1).expand(len(written), -1, -1, -1)
    rows = torch.cat([before[..., len(steered.subject.prefix) :], written], -1).flatten(0, 2).tolist()
    texts = [steered.subject.tokenizer.decode(row, skip_special_tokens=True) for row in rows]
    return np.array(texts, dtype=object).reshape(written.shape[:3])


def _gains(texts: Sequence[str], told: Told, tools: Tools) -> Float[np.ndarray, "changes texts prompts"]:
    """How much more probable each text is after changed passages than after clean ones, averaged over samples."""
    passages = np.concatenate([told.clean[None], told.changed])
    names, which = np.unique(passages.astype(str), return_inverse=True)
    logs = naming.label_logs(tools.likelihood.subject, list(texts), names.tolist())
    spread = logs[:, which.ravel()].reshape(len(texts), *passages.shape).mean(-1)
    return (spread[:, 1:] - spread[:, :1]).swapaxes(0, 1).astype(np.float64)


def _details(told: Told, gains: np.ndarray, documents: np.ndarray, options: Options, seed: int) -> dict[str, Any]:
    return {
        "kl": {"wanted": options.kl, "scored": round(told.strength, 4)},
        "amount": told.amounts[0],
        "random": _random(told, gains, documents, options, seed),
        "trials": gains[0].round(4).T.tolist(),
        "texts": [
            {"clean": str(told.clean[row, 0]), "changed": str(told.changed[0, row, 0])}
            for row in range(min(SHOWN, len(documents)))
        ],
    }


def _random(told: Told, gains: np.ndarray, documents: np.ndarray, options: Options, seed: int) -> dict[str, Any]:
    """The first label's score on the texts of random latents, and how much higher its own feature's is."""
    counted = {"latents": told.latents[1:], "unsteered": options.random - len(told.latents[1:])}
    if len(gains) < 2:
        return counted
    drawn, drawn_from = weights(documents, seed), clusters(documents)
    own, random = _means(gains[:1, 0], drawn)[0], _means(gains[1:, 0].mean(0, keepdims=True), drawn)[0]
    return counted | {
        "value": _record(estimate(random, drawn_from)),
        "difference": _record(estimate(own - random, drawn_from)),
    }


def _record(found: Estimate) -> list[float]:
    return [round(found.value, 4), round(found.lower, 4), round(found.upper, 4)]
