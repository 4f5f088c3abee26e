"""How many nodes a circuit needs for the same held-out faithfulness: a learned mask and re-ranking beside plain thresholds.

With `BENCH_WORKSPACE` (a workspace with dictionaries) and `BENCH_MODEL` in the environment, three tasks on that model;
otherwise agreement on the tests' tiny model with dictionaries of random directions. `BENCH_TASKS`, `BENCH_PAIRS` and
`BENCH_STEPS` make it shorter.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import tiny
import torch
from bench.harness import Setting, Table

from circuits import faithfulness, methods, verify
from circuits.config import CircuitConfig
from circuits.effects import Effects
from circuits.intervals import bootstrap, ratio_of_means
from circuits.problem import Problem
from circuits.setup import prepare
from data import tasks
from data.models import Subject
from data.store import Workspace
from data.words import Node, Site
from training.dictionary import Dictionary

TASKS = "agreement,gendered_pronoun,indirect_object"
LEVELS = (0.5, 0.7, 0.8)
SIZES = (1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300, 400, 600, 800, 1000, 1500, 2000)
VERIFIED = 200
"""Most important nodes that are re-ranked by exact patching."""


def tables(setting: Setting) -> Iterator[Table]:
    pairs, steps = (
        setting.of(int(os.environ.get(f"BENCH_{name}", default)), quick)
        for name, default, quick in (("PAIRS", 64, 12), ("STEPS", 10, 2))
    )
    columns = ("task", "ranked by", *(f"nodes for {level:.0%}" for level in LEVELS), "restored by 50", "seconds")
    table = Table("Smaller circuits: nodes needed for a held-out faithfulness", columns)
    for task, discovery, heldout in _problems(setting, pairs):
        for name, effects, seconds in _ranked(discovery, steps):
            ranked = [effects.nodes[i] for i in effects.ranking().tolist()]
            table.rows.append((task, name, *_needed(heldout, ranked), _restored(heldout, ranked[:50]), seconds))
    table.notes.append(
        f"{pairs} pairs, half of them held out; {steps} steps. The smallest of {len(SIZES)} sizes that reaches the level; "
        f"`verified` is integrated gradients with its first {VERIFIED} nodes re-ranked by exact patching, one at a time; "
        f"`signed` ranks by the mean itself, so that nodes that work against the behaviour come last. "
        f"Restored: with a 95 % interval over held-out pairs."
    )
    yield table


def _ranked(problem: Problem, steps: int) -> Iterator[tuple[str, Effects, float]]:
    """Every way to rank, and what it took."""
    for name in ("integrated_gradients", "gate_gradients", "sparse_mask"):
        began = time.perf_counter()
        effects = methods.estimate(problem, name, steps)
        yield name, effects, time.perf_counter() - began
        if name == "integrated_gradients":
            yield f"{name}, signed", dataclasses.replace(effects, score=effects.mean), 0.0
            began = time.perf_counter()
            yield "verified", _reranked(problem, effects), time.perf_counter() - began


def _reranked(problem: Problem, effects: Effects) -> Effects:
    """The first nodes by their exact effects, the others after them in the order that they had."""
    order = effects.ranking()
    first = order[:VERIFIED]
    exact = verify.exact_effects(problem, [effects.nodes[i] for i in first.tolist()]).mean.abs()
    score = torch.empty(len(order))
    score[order] = -torch.arange(len(order), dtype=torch.float32)
    score[first] = 1 + exact
    return dataclasses.replace(effects, score=score)


def _needed(problem: Problem, ranked: Sequence[Node]) -> list[str]:
    """The smallest size that reaches each level."""
    found = dict.fromkeys(LEVELS, "more")
    for size in itertools.takewhile(lambda n: n <= len(ranked), SIZES):
        gained = faithfulness.recovered(problem, ranked[:size]).mean(0)
        for level in LEVELS:
            if found[level] == "more" and gained[0] >= level * gained[1]:
                found[level] = str(size)
        if "more" not in found.values():
            break
    return [found[level] for level in LEVELS]


def _restored(problem: Problem, nodes: Sequence[Node]) -> str:
    share = bootstrap(faithfulness.recovered(problem, nodes), ratio_of_means)
    return f"{share.value:.2f} ({share.lower:.2f} to {share.upper:.2f})"


def _problems(setting: Setting, count: int) -> Iterator[tuple[str, Problem, Problem]]:
    """Each task's name, and its pairs for discovery and held out."""
    if setting.quick or "BENCH_WORKSPACE" not in os.environ:
        yield "agreement", *_tiny(count)
        return
    workspace = Workspace.open(os.environ["BENCH_WORKSPACE"])
    for task in os.environ.get("BENCH_TASKS", TASKS).split(","):
        config = CircuitConfig(task=task, model=os.environ["BENCH_MODEL"], pairs=count)
        ready = prepare(workspace, config)
        gathered = ready.gathered(config)
        yield task, ready.problem(config, gathered.discovery), ready.problem(config, gathered.heldout)


def _tiny(count: int) -> tuple[Problem, Problem]:
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject.open(str(tiny.save(Path(folder))))
    pairs = list(itertools.islice(tasks.pairs("agreement", subject.tokenize, prefix=subject.prefix, seed=0), count))
    placed = {site: _random(site, subject) for site in (Site(0), Site(1))}
    return (Problem.of(subject, placed, pairs[: count // 2]), Problem.of(subject, placed, pairs[count // 2 :]))


class _Relu:
    """Random directions with a threshold, in sae-lens' shape."""

    def __init__(self, decoder: torch.Tensor) -> None:
        self.W_dec, self.b_dec = decoder, torch.zeros(decoder.shape[1])

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.W_dec.T - 0.3)

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        return f @ self.W_dec


def _random(site: Site, subject: Subject, latents: int = 96) -> Dictionary:
    generator = torch.Generator().manual_seed(site.layer + 1)
    decoder = torch.nn.functional.normalize(torch.randn(latents, subject.d_model, generator=generator), dim=1)
    return Dictionary(f"random-{site}", "random", subject.digest, site, latents, subject.d_model, _Relu(decoder))
