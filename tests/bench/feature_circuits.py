"""Nodes and edges of a feature circuit: ours beside the loop of the published sparse-feature-circuits code.

1. The published setting's shape with random weights: Pythia-70M (6 parallel layers of width 512), 19 submodules x 2,048
   latents of which about 32 fire, 2 pairs of 7 tokens, 10 steps, edges among 100 kept nodes per pair. Beside the published
   code itself, where FEATURE_CIRCUITS names a clone of it (`sides/with_feature_circuits.py`), and beside its loop.
2. SmolLM2 with real weights, dictionaries of random directions at five sites, 2 pairs of agreement, beside the loop.

Effects are compared first: r >= .99 for nodes and for edges, or the benchmark fails.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from bench import published_code, published_loop
from bench.harness import Setting, Spread, Table, _timed, alternate
from torch import Tensor

from circuits import edges
from circuits.effects import Effects, from_gradients
from circuits.mediators import Mediator
from circuits.methods.integrated_gradients import gradients
from circuits.problem import Problem
from data import tasks
from data.models import Subject
from data.words import Node, Pair, Site

STEPS = 10
ROUNDS = 3
LATENTS = 2048
FIRING = 32


@dataclass(frozen=True, eq=False)
class Shifted:
    """Random directions, read by a ReLU whose shift is chosen so that so many fire."""

    W_dec: Tensor
    b_dec: Tensor
    shift: float

    @classmethod
    def at(cls, x: Tensor, seed: int) -> Shifted:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.nn.functional.normalize(torch.randn(LATENTS, x.shape[-1], generator=generator), dim=1)
        centre = x.flatten(0, -2).mean(0)
        shift = torch.quantile((x.flatten(0, -2) - centre) @ rows.T, 1 - FIRING / LATENTS, dim=1).mean()
        return cls(rows, centre, float(shift))

    def encode(self, x: Tensor) -> Tensor:
        return torch.relu((x - self.b_dec) @ self.W_dec.T - self.shift)

    def decode(self, f: Tensor) -> Tensor:
        return f @ self.W_dec + self.b_dec


def tables(setting: Setting) -> Iterator[Table]:
    with tempfile.TemporaryDirectory() as folder:
        pythia = Subject.open(str(_pythia(Path(folder) / "model")))
        layers = setting.of(range(pythia.layers), range(2))
        parts = [Site(layer, kind) for layer in layers for kind in ("attn_out", "mlp_out", "resid_post")]
        problem = _problem(pythia, [Site(0, "resid_pre"), *parts], _random())
        if published_code.SOURCE in os.environ:
            yield published_code.table(problem, Path(folder), setting.of(200, 20), setting.of(ROUNDS, 1))
        yield _table("Pythia-70M's shape, random weights", problem, setting)
    smol = Subject.open()
    drawn = tasks.pairs("agreement", smol.tokenize, prefix=smol.prefix, seed=0)
    sites = [Site(layer) for layer in setting.of((5, 10, 15, 20, 25), (20, 25))]
    yield _table("SmolLM2-135M, five sites", _problem(smol, sites, list(itertools.islice(drawn, 2))), setting)


def _table(title: str, problem: Problem, setting: Setting) -> Table:
    _ = problem.states  # both sides begin with what is read in one pass of each prompt
    kept = setting.of(200, 20)
    likeness = _same(problem, kept)
    table = Table(f"Feature circuits: {title}", ("", "ours, s", "published loop, s", "ratio"))
    for name, edged in (("nodes", 0), ("nodes and edges", kept)):
        timed = {
            "ours": lambda n=edged: _timed(lambda: _ours(problem, n)),
            "published": lambda n=edged: _timed(lambda: _published(problem, n)),
        }
        seconds = alternate(timed, setting.of(ROUNDS, 1))
        ratio = Spread.ratio(seconds["published"], seconds["ours"])
        table.rows.append((name, Spread.of(seconds["ours"]), Spread.of(seconds["published"]), ratio))
    table.notes.append(
        f"{len(problem)} pairs x {problem.clean.shape[1]} tokens, {len(problem.sites)} sites x {LATENTS:,} latents "
        f"({_firing(problem):.0f} fire on a token), {STEPS} steps, {kept} nodes joined. Pearson between the two sides: "
        f"nodes {likeness[0]:.6f}, edges {likeness[1]:.6f}."
    )
    return table


def _ours(problem: Problem, kept: int) -> tuple[Effects, list[Node], edges.Edges | None]:
    found = gradients(problem, STEPS, lambda *_: None)
    effects = from_gradients(problem, found)
    nodes = [effects.nodes[i] for i in effects.ranking()[:kept].tolist()]
    return effects, nodes, edges.edge_effects(problem, nodes, found) if kept else None


def _published(problem: Problem, kept: int) -> tuple[Tensor, dict[tuple[Node, Node], Tensor]]:
    found = published_loop.node_gradients(problem, STEPS)
    effects = published_loop.node_effects(problem, found)
    nodes = published_loop.strongest(problem, effects, kept)
    return torch.cat([e.flatten() for e in effects.values()]), published_loop.edge_effects(problem, nodes, found)


def _same(problem: Problem, kept: int) -> tuple[float, float]:
    """Correlations of the two sides' mean effects; fails when they did not do the same work."""
    effects, nodes, joined = _ours(problem, kept)
    found = published_loop.node_gradients(problem, STEPS)
    dense = published_loop.node_effects(problem, found)
    theirs = torch.stack([published_loop.effect_of(dense, node) for node in effects.nodes])
    edged = published_loop.edge_effects(problem, nodes, found)
    assert joined is not None
    numbers = list(zip(joined.source.tolist(), joined.target.tolist(), strict=True))
    other = torch.stack([edged[nodes[u], nodes[d]].mean() for u, d in numbers])
    likeness = _pearson(effects.mean, theirs), _pearson(joined.effect.mean(0), other)
    assert min(likeness) >= 0.99, likeness
    return likeness


def _pearson(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def _problem(subject: Subject, sites: list[Site], pairs: list[Pair]) -> Problem:
    values = subject.read(torch.tensor([p.clean for p in pairs]), sites)
    mediators = {
        site: Mediator(site, "latent", LATENTS, 1, Shifted.at(values[site], seed)) for seed, site in enumerate(sites)
    }
    return Problem.of(subject, mediators, pairs)


def _firing(problem: Problem) -> float:
    return sum(float((s.f != 0).sum(-1).float().mean()) for s in problem.states.values()) / len(problem.sites)


def _random() -> list[Pair]:
    """Two pairs of seven random tokens that differ in the third."""
    draw = torch.randint(400, 700, (2, 8), generator=torch.Generator().manual_seed(0)).tolist()
    roles = tuple("abcdefg")
    return [Pair(tuple(r[:7]), (*r[:2], r[7], *r[3:7]), r[0], r[1], roles, str(r), "") for r in draw]


def _pythia(folder: Path) -> Path:
    """Random weights in Pythia-70M's shape, with the tiny model's tokenizer."""
    import tiny
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=50_304, hidden_size=512, num_hidden_layers=6, num_attention_heads=8, intermediate_size=2048,
        max_position_embeddings=512,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    tiny._tokenizer(["The key near the house is here."]).save_pretrained(folder)
    return folder
