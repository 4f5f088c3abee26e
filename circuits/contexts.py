"""Contexts that the model predicts well, and not by repetition: what clusters are made of.

1. Held-out documents are cut into blocks; every token of a block's second half is looked at as a next token.
2. It counts when its cross-entropy is below a bound and its bigram has not stood earlier in the block, which a plain
   induction head would copy (sparse feature circuits, arXiv 2403.19647, section 5; Michaud et al., arXiv 2303.13506).
3. One context a block, at random; no next token takes more than a fair share, or commas would fill the clusters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from data.errors import Mistake
from data.models import Subject
from data.progress import Report
from data.texts import Blocks, Text
from data.words import Pair

ROLE = "context"
"""The role of a context's own tokens; the prefix has its own."""
SHARE = 0.02
"""The most that one next token may have of all contexts."""
PASS = 16
"""Blocks in a pass that gives logits at all positions: 16 x 32 tokens x 49k words take 100 MB."""


@dataclass(frozen=True)
class Context:
    """A text's beginning, `tokens` with the prefix, and its `next` token, which the model gives `loss` nats."""

    tokens: tuple[int, ...]
    next: int
    loss: float
    document: int

    def pair(self, prefix: int) -> Pair:
        """The context as a prompt without counterfactual; its roles tell the prefix from the text."""
        roles = ("prefix",) * prefix + (ROLE,) * (len(self.tokens) - prefix)
        return Pair(self.tokens, (), self.next, self.next, roles, "", "")


def find(
    subject: Subject, text: str | None, *, wanted: int, length: int, below: float, seed: int, report: Report
) -> list[Context]:
    """`wanted` contexts. Raises `Mistake` when the text has fewer."""
    rng = np.random.default_rng(seed)
    found: list[Context] = []
    given: Counter[int] = Counter()
    for blocks in _blocks(Text(text, subject.tokenizer, length, subject.prefix), rng):
        for context in _good(subject, blocks, below, lambda token: given[token] < max(1, SHARE * wanted), rng):
            given[context.next] += 1
            found.append(context)
        report(min(len(found), wanted), wanted)
        if len(found) >= wanted:
            return found[:wanted]
    raise Mistake(
        f"The held-out text has {len(found)} contexts that {subject.name} predicts below {below} nats and that are no "
        f"repetition, with at most {SHARE:.0%} for one token; {wanted} were asked for. Ask for fewer with --contexts, "
        f"raise --below, or give more --text."
    )


def _blocks(text: Text, rng: np.random.Generator) -> Iterator[Blocks]:
    """The full blocks of the held-out documents, in a shuffled order, a pass at a time."""
    cut = text.blocks("heldout")
    whole = np.flatnonzero(cut.length == text.context)
    rng.shuffle(whole)
    for start in range(0, len(whole), PASS):
        yield cut[whole[start : start + PASS]]


def _good(
    subject: Subject, blocks: Blocks, below: float, free: Callable[[int], bool], rng: np.random.Generator
) -> Iterator[Context]:
    """A context of each block that has one whose next token is still `free`."""
    tokens = torch.from_numpy(blocks.tokens)
    losses = cross_entropies(subject, tokens).numpy()
    real = blocks.real & (np.arange(tokens.shape[1]) >= tokens.shape[1] // 2)
    for row, loss in enumerate(losses):
        ids = blocks.tokens[row]
        fine = [
            p for p in np.flatnonzero(real[row] & (loss < below)).tolist() if free(int(ids[p])) and not repeated(ids, p)
        ]
        if fine:
            at = int(rng.choice(fine))
            yield Context(tuple(ids[:at].tolist()), int(ids[at]), float(loss[at]), int(blocks.document[row]))


@torch.no_grad()
def cross_entropies(subject: Subject, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos"]:
    """The nats that the model gives each token after those before it; infinite for the first."""
    logits = subject.run(tokens)
    assert logits is not None
    losses = torch.full(tokens.shape, torch.inf)
    said = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none"
    )
    losses[:, 1:] = said.unflatten(0, (len(tokens), -1))
    return losses


def repeated(tokens: np.ndarray, at: int) -> bool:
    """Whether the token at `at` stood after the same token before: an induction head would copy it."""
    before = np.flatnonzero(tokens[: at - 1] == tokens[at - 1])
    return bool((tokens[before + 1] == tokens[at]).any())
