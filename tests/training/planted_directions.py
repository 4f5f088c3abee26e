"""Activations with a known answer: the same few sparse codes seen at four sites, each in its own directions."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

from data.words import parse_sites
from training.config import TrainConfig
from training.plans import Plan, plans
from training.stack import Stack, seat
from training.stream import measure

TRUE, WIDTH, ACTIVE, BATCH = 48, 32, 3, 128
SITES = parse_sites("resid_post:0,mlp_in:1,mlp_out:1,resid_post:1")


def directions() -> Tensor:
    """What each true feature writes at each site: [site, TRUE, WIDTH], unit rows."""
    drawn = torch.randn(len(SITES), TRUE, WIDTH, generator=torch.Generator().manual_seed(9))
    return functional.normalize(drawn, dim=-1)


def planted(count: int, seed: int) -> Tensor:
    """`count` sums of ACTIVE features with weights in 1..2, off-centre, at sites of very different scale."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(count, TRUE, generator=generator).topk(ACTIVE).indices
    codes = torch.zeros(count, TRUE).scatter_(1, chosen, 1 + torch.rand(count, ACTIVE, generator=generator))
    scale = torch.tensor([30.0, 1.0, 3.0, 60.0])[:, None]
    return torch.einsum("tf,sfd->tsd", codes, directions()) * scale + 3 * scale


@functools.cache
def pool() -> Tensor:
    """25,600 of them, gone through again and again in training."""
    return planted(200 * BATCH, 1)


def batch(step: int) -> Tensor:
    """What is trained on in a step."""
    first = step % 200 * BATCH
    return pool()[first : first + BATCH]


def planned(architecture: str, *, latents: int = 64, seeds: int = 1) -> list[Plan]:
    """Plans that differ in their seed, at the first place that the architecture takes of `SITES`."""
    rest = {"latents": [latents], "k": [ACTIVE], "learning_rate": [3e-3], "seed": range(seeds)}
    made = plans(architecture, SITES, **rest)  # type: ignore[arg-type]
    return [plan for plan in made if plan.reads == made[0].reads]


def begun(made: list[Plan], steps: int = 600, **changes: object) -> Stack:
    """A stack of `made` before its first step."""
    config = TrainConfig(tokens=BATCH * steps, batch=BATCH, buffer=BATCH, latents=64, k=ACTIVE, **changes)  # type: ignore[arg-type]
    rows = planted(4096, 0)
    scales = measure(rows)
    return Stack.begin(made, [seat(plan, SITES, scales) for plan in made], rows, config)


def trained(made: list[Plan], steps: int = 600, **changes: object) -> tuple[Stack, Tensor]:
    """A stack after `steps` steps, and what each measured: [step, member, measure]."""
    stack = begun(made, steps, **changes)
    return stack, torch.stack([stack.step(batch(step), step) for step in range(steps)])


@functools.cache
def finished(architecture: str) -> tuple[Stack, Tensor]:
    """Two of an architecture after 500 steps of 128 tokens, for tests that look and change nothing."""
    return trained(planned(architecture, seeds=2), steps=500)
