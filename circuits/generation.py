"""What a model writes after a prompt, without and with an intervention: greedily, so that a difference is the edit's.

The edit holds in every forward pass, and each pass is over the whole text so far: a cache would keep keys and values of
tokens as they were before they were changed at deeper sites.
"""

from __future__ import annotations

import contextlib
import functools

import torch
from jaxtyping import Int
from torch import Tensor

from circuits.freeze import frozen
from circuits.interventions import Change
from circuits.problem import Problem


@torch.no_grad()
def generate(
    problem: Problem, row: int, tokens: int, change: Change | None = None, *, freeze: bool = False
) -> list[int]:
    """The `tokens` ids that follow the clean prompt of pair `row`, with `change` made in every pass.

    With `freeze`, attention patterns are those of the unchanged model on the same text.
    """
    rows = torch.tensor([row])
    text = problem.clean[rows, : int(problem.aligned.last[row]) + 1]
    start = text.shape[1]
    for _ in range(tokens):
        text = torch.cat([text, _next(problem, text, rows, change, freeze)], dim=1)
    return text[0, start:].tolist()


def _next(
    problem: Problem, text: Int[Tensor, "one pos"], rows: Tensor, change: Change | None, freeze: bool
) -> Int[Tensor, "one one"]:
    keep = torch.tensor([text.shape[1] - 1])
    run = functools.partial(problem.model.run, text, keep=keep)
    with frozen(problem.model, run) if freeze and change else contextlib.nullcontext():
        logits = run(edits=change.edits(rows) if change else {})
    assert logits is not None
    return logits[:, -1].argmax(-1, keepdim=True)
