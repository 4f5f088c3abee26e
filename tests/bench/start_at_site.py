"""Gradients at five sites of SmolLM2: passes that begin at the site, against whole passes through the model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import torch
from bench.harness import Setting
from torch import Tensor

from circuits.methods import gradient_at
from circuits.problem import Problem
from data import tasks
from data.models import Subject
from data.words import Site

SITES = tuple(Site(layer) for layer in (5, 10, 15, 20, 25))


def prepare(setting: Setting) -> Mapping[str, Callable[[], object]]:
    subject = Subject.open()
    drawn = tasks.pairs("agreement", subject.tokenize, prefix=subject.prefix, seed=0)
    pairs = list(itertools.islice(drawn, setting.of(16, 2)))
    problem = Problem.of(subject, {}, pairs)
    rows = torch.arange(len(problem))
    values = subject.read(problem.clean, SITES)

    def ours() -> list[Tensor]:
        return [gradient_at(problem, site, values[site], rows) for site in SITES]

    def whole() -> list[Tensor]:
        return [_whole(problem, site, values[site]) for site in SITES]

    return {"begin at the site": ours, "whole passes": whole}


def _whole(problem: Problem, site: Site, x: Tensor) -> Tensor:
    leaf = x.detach().requires_grad_()
    rows = torch.arange(len(problem))
    logits = problem.run(rows, {site: lambda _: leaf})
    return torch.autograd.grad(problem.metric(logits, rows).sum(), leaf)[0]


def same(results: Mapping[str, object]) -> None:
    ours, whole = results.values()
    for a, b in zip(ours, whole, strict=True):  # pyright: ignore[reportArgumentType]
        torch.testing.assert_close(a, b)
