"""Explains features by a language model at an endpoint, from what they make the model say; no text in which they fire.

1. The words that the decoder promotes and suppresses: its direction through the final norm and the unembedding (done by
   the harvest), which Gur-Arieh et al. 2025 (arXiv:2501.08319) call VocabProj.
2. The words that become more and less likely when the feature is steered (`token_change.py`, their TokenChange).
3. The language model says what these words have in common, as in `llm.py`.

It is about what a feature does, not when it fires. Steering runs the model in this process; `steering=false` does not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.cases import Case, Explained
from autointerp.explainers import llm
from autointerp.explainers.vocabulary import spelled
from autointerp.llm import Request
from autointerp.tools import Tools
from data.errors import Mistake

USES = ("endpoint",)
TOGETHER = 8
"""Features steered in the same passes."""


@dataclass(frozen=True)
class Options:
    """What the language model is shown, and how steering is done."""

    decoder: bool = True
    """Give the words that the decoder promotes and suppresses."""
    steering: bool = True
    """Give the words that steering makes more and less likely."""
    contexts: int = 8
    """Passages of the explain documents that are steered."""
    kl: float = 0.5
    """How strongly: KL(clean || steered) of the next token, in nats."""
    thinking: bool = False
    """Let the model think, in a field of its own, before it answers."""
    temperature: float = 0.0
    """0: the likeliest answer; above it, answers are drawn."""
    draw: int = 0
    """Which of several answers to the same question this is."""

    def __post_init__(self) -> None:
        if not (self.decoder or self.steering):
            raise Mistake("decoder and steering are both false: there would be nothing to show.")
        if self.contexts < 1 or not self.kl > 0:
            raise Mistake(f"contexts is {self.contexts} and kl {self.kl:g}; at least 1, and above 0.")


def explain(cases: Sequence[Case], tools: Tools, options: Options) -> Iterator[Explained]:
    """One explanation a case."""
    form = llm.Options(thinking=options.thinking, temperature=options.temperature, draw=options.draw)
    waiting: deque[tuple[Case, dict[str, Any]]] = deque()
    empty: deque[Case] = deque()

    def requests() -> Iterator[Request]:
        for case, content in _shown(cases, tools, options):
            if any(content.values()):
                waiting.append((case, content))
                yield llm.ask(content, form)
            else:
                empty.append(case)

    for answer in tools.client.answers(requests(), tools.advance):
        case, content = waiting.popleft()
        yield llm.explained(case, answer, {"outputs": content})
    for case in empty:
        tools.advance()
        yield Explained(case.feature, error="nothing stands out: no word is among the tokens it moves most")


def _shown(cases: Sequence[Case], tools: Tools, options: Options) -> Iterator[tuple[Case, dict[str, Any]]]:
    """Each case with what the language model is shown of it."""
    moved = _moved(cases, tools, options) if options.steering else ({} for _ in cases)
    for case, words in zip(cases, moved, strict=True):
        yield case, (llm.outputs(case) if options.decoder else {}) | words


def _moved(cases: Sequence[Case], tools: Tools, options: Options) -> Iterator[dict[str, Any]]:
    """The words that steering each case's feature makes more and less likely; none where no amount steers so much."""
    from autointerp.token_change import Steering

    steering = Steering(tools.workspace, options.contexts, options.kl, tools.seed)
    for begin in range(0, len(cases), TOGETHER):
        for change in steering.changes(cases[begin : begin + TOGETHER]):
            yield {"raised": list(spelled(change.up)), "lowered": list(spelled(change.down))} if change else {}
