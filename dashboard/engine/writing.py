"""What a model writes when some of its features are changed, several rows side by side in the same passes.

1. All rows begin with one prompt; keys and values of tokens that are done are kept, as each row's own changes made them.
2. Rows that share a seed share their random numbers (the Gumbel trick), so that a change of nothing writes the same text
   and what differs is the change's doing; at temperature 0 the most likely token is taken.
3. `surprise` says how unlikely a row's text is to the model without any change, in nats a token: text that fell apart
   shows there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dashboard.engine.changes import Pushed
from data.models import Subject


@dataclass(frozen=True)
class Manner:
    """How text is written."""

    tokens: int
    temperature: float
    seeds: Sequence[int]
    """One for each row."""


@dataclass(frozen=True, eq=False)
class Written:
    """What was written [rows tokens], and the log-probabilities of the first token of it [rows vocab]."""

    ids: Int[Tensor, "rows tokens"]
    first: Float[Tensor, "rows vocab"]


@torch.no_grad()
def write(pushed: Pushed, prompt: Int[Tensor, "one pos"], manner: Manner, each: Callable[[int], None]) -> Written:
    """Goes on from `prompt` in every row; `each` is called with the number of tokens that are done."""
    rows = prompt.repeat(len(manner.seeds), 1).to(pushed.subject.device)
    draws = {seed: torch.Generator().manual_seed(seed) for seed in manner.seeds}
    cache: Any = None
    last, ids, first = rows, [], None
    with pushed.held():
        for done in range(max(manner.tokens, 1)):
            each(done)
            out = pushed.subject.model(input_ids=last, past_key_values=cache, use_cache=True, logits_to_keep=1)
            pushed.passed += last.shape[1]
            cache, logits = out.past_key_values, out.logits[:, -1].float().cpu()
            first = logits.log_softmax(-1) if first is None else first
            chosen = _drawn(logits, manner, draws)
            ids.append(chosen)
            last = chosen[:, None].to(rows.device)
    assert first is not None
    return Written(torch.stack(ids, 1)[:, : manner.tokens], first)


def _drawn(logits: Float[Tensor, "rows vocab"], manner: Manner, draws: dict[int, torch.Generator]) -> Tensor:
    if not manner.temperature:
        return logits.argmax(-1)
    noise = {seed: torch.rand(logits.shape[-1], generator=draw).clamp_min(1e-20) for seed, draw in draws.items()}
    gumbel = torch.stack([-noise[seed].log().neg().log() for seed in manner.seeds])
    return (logits / manner.temperature + gumbel).argmax(-1)


@torch.no_grad()
def surprise(subject: Subject, prompt: Int[Tensor, "one pos"], ids: Int[Tensor, "rows tokens"]) -> list[list[float]]:
    """For each row, how unlikely each of its tokens is to the unchanged model, in nats."""
    if not ids.shape[1]:
        return [[] for _ in ids]
    whole = torch.cat([prompt.repeat(len(ids), 1), ids], 1)
    keep = torch.arange(prompt.shape[1] - 1, whole.shape[1] - 1)
    logits = subject.run(whole, keep=keep)
    assert logits is not None
    likely = logits.float().cpu().log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return (-likely).tolist()
