"""Small transformers with a circuit planted in them, trained by strict interchange interventions (arXiv 2407.14494).

The program, at the last of five tokens `BOS a b c ?`, with a, b and c from 0 to 2: fetch a, turn it into g(a), fetch b, add
both modulo 3. Each of the four steps is one part of a network of two blocks (`CIRCUIT`): a head, the first MLP, a head of
the second block, the second MLP. c is a distraction. Training adds three losses:

1. behaviour: the answer;
2. interchange: with one step's part taken from another prompt, the answer of the program with that step taken from it;
3. strictness: with parts outside the circuit taken from another prompt, half of them at random, the answer stays.

So the truth about the nodes is trained in, and it is checked by interventions (`checked`) before anything is
compared with it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from toys import Pass

from circuits import mediators
from circuits.problem import Problem
from data.models import Edit
from data.words import Node, Pair, Site

VALUES, LENGTH, WIDTH, HEADS, HIDDEN = 3, 5, 32, 4, 64
LAST = LENGTH - 1
G = torch.tensor([2, 0, 1])
FETCH_A, TURN, FETCH_B, ADD = (
    (Site(0, "attn_z"), 1),
    (Site(0, "mlp_out"), 0),
    (Site(1, "attn_z"), 2),
    (Site(1, "mlp_out"), 0),
)
CIRCUIT = (FETCH_A, TURN, FETCH_B, ADD)
"""The site and number of each step's part, all at the last token."""
EDGES = ((FETCH_A, TURN), (TURN, ADD), (FETCH_B, ADD))
"""Who reads whom; the sum is read by the logits."""
SITES = tuple(Site(layer, kind) for layer in (0, 1) for kind in ("attn_z", "mlp_out"))
STEPS, ROWS, RATE = 300, 32, 5e-3


class Planted:
    """Two pre-norm blocks with causal attention as a `data.models.Model`; its logits are over the three answers."""

    layers, d_model, heads = 2, WIDTH, HEADS
    prefix: tuple[int, ...] = ()

    def __init__(self, seed: int) -> None:
        self.name = self.digest = f"planted-{seed}"
        generator = torch.Generator().manual_seed(seed)
        shapes = {"tokens": (2 + 3 * VALUES, WIDTH), "places": (LENGTH, WIDTH), "out": (WIDTH, VALUES)}
        for layer in range(self.layers):
            shapes |= {f"{layer}.{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "o")}
            shapes |= {f"{layer}.in": (WIDTH, HIDDEN), f"{layer}.mlp": (HIDDEN, WIDTH)}
        self.w = {name: torch.randn(shape, generator=generator) / shape[0] ** 0.5 for name, shape in shapes.items()}
        self.w |= {f"{layer}.bias": torch.zeros(HIDDEN) for layer in range(self.layers)}

    def width(self, site: Site) -> int:
        return HIDDEN if site.kind == "mlp_post" else WIDTH

    def run(
        self,
        tokens: Tensor,
        *,
        edits: Mapping[Site, Edit] | None = None,
        start: tuple[Site, Tensor] | None = None,
        stop: Site | None = None,
        keep: Tensor | None = None,
    ) -> Tensor | None:
        visit = Pass(edits, start, stop)
        return visit.finished(lambda: self._logits(visit, tokens, keep))

    def _logits(self, visit: Pass, tokens: Tensor, keep: Tensor | None) -> Tensor:
        x = self.w["tokens"][tokens] + self.w["places"][: tokens.shape[1]]
        for layer in range(self.layers):
            x = visit.at(Site(layer, "resid_pre"), x)
            z = visit.at(Site(layer, "attn_z"), self._attention(layer, _norm(x)))
            x = visit.at(Site(layer, "resid_mid"), x + visit.at(Site(layer, "attn_out"), z @ self.w[f"{layer}.o"]))
            hidden = torch.nn.functional.gelu(_norm(x) @ self.w[f"{layer}.in"] + self.w[f"{layer}.bias"])
            post = visit.at(Site(layer, "mlp_post"), hidden)
            x = visit.at(Site(layer), x + visit.at(Site(layer, "mlp_out"), post @ self.w[f"{layer}.mlp"]))
        return _norm(x if keep is None else x[:, keep]) @ self.w["out"]

    def _attention(self, layer: int, x: Tensor) -> Tensor:
        q, k, v = ((x @ self.w[f"{layer}.{n}"]).unflatten(-1, (HEADS, -1)).transpose(1, 2) for n in ("q", "k", "v"))
        scores = q @ k.transpose(-1, -2) / (WIDTH / HEADS) ** 0.5
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        return (torch.softmax(scores.masked_fill(later, float("-inf")), -1) @ v).transpose(1, 2).flatten(2)


def _norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt()


def prompts(values: Tensor) -> Tensor:
    """`BOS a b c ?` for values [rows 3]."""
    rows = len(values)
    offset = torch.tensor([1, 1 + VALUES, 1 + 2 * VALUES])
    return torch.cat(
        [torch.zeros(rows, 1, dtype=torch.long), values + offset, torch.full((rows, 1), 1 + 3 * VALUES)], 1
    )


def program(base: Tensor, source: Tensor, step: Tensor) -> Tensor:
    """The answers for `base` [rows 3], with one `step` of `CIRCUIT` taken from `source` in each row (-1: none)."""
    a = torch.where(step == 0, source[:, 0], base[:, 0])
    turned = torch.where(step == 1, G[source[:, 0]], G[a])
    b = torch.where(step == 2, source[:, 1], base[:, 1])
    return torch.where(step == 3, G[source[:, 0]] + source[:, 1], turned + b) % VALUES


def answers(values: Tensor) -> Tensor:
    """The program's answers for values [rows 3]."""
    return program(values, values, torch.full((len(values),), -1))


def exchanged(model: Planted, base: Tensor, source: Tensor, taken: Mapping[Site, Tensor]) -> Tensor:
    """Logits at the last token of `base` [rows VALUES], with what is `taken` [rows pos width] from `source`'s pass."""
    values: dict[Site, Tensor] = {}
    model.run(prompts(source), edits={site: functools.partial(_note, values, site) for site in taken})
    edits: dict[Site, Edit] = {s: functools.partial(_mixed, mask, values[s]) for s, mask in taken.items()}
    logits = model.run(prompts(base), edits=edits)
    assert logits is not None
    return logits[:, -1]


def _note(values: dict[Site, Tensor], site: Site, x: Tensor) -> None:
    values[site] = x


def _mixed(mask: Tensor, other: Tensor, x: Tensor) -> Tensor:
    return torch.where(mask, other, x)


def step_taken(step: Tensor) -> dict[Site, Tensor]:
    """The part of one step, row by row; none where `step` is -1."""
    taken = {site: torch.zeros(len(step), LENGTH, WIDTH, dtype=torch.bool) for site in SITES}
    for which, (site, number) in enumerate(CIRCUIT):
        size = WIDTH // HEADS if site.kind == "attn_z" else WIDTH
        taken[site][step == which, LAST, number * size : (number + 1) * size] = True
    return taken


def others_taken(rows: int, share: float, generator: torch.Generator) -> dict[Site, Tensor]:
    """Each part outside the circuit with probability `share`, row by row."""
    taken: dict[Site, Tensor] = {}
    circuit = {site: mask.any(0) for site, mask in step_taken(torch.arange(len(CIRCUIT))).items()}
    for site in SITES:
        parts = HEADS if site.kind == "attn_z" else 1
        drawn = torch.rand(rows, LENGTH, parts, generator=generator) < share
        taken[site] = drawn.repeat_interleave(WIDTH // parts, -1) & ~circuit[site]
    return taken


@functools.cache
def planted(seed: int) -> Planted:
    """The trained network of a seed."""
    model = Planted(seed)
    generator = torch.Generator().manual_seed(seed + 1000)
    optimiser = torch.optim.Adam([w.requires_grad_() for w in model.w.values()], lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        # A third of the rows for each of the three losses, all in one pass.
        base, source = torch.randint(VALUES, (2, 3 * ROWS, 3), generator=generator)
        step = torch.full((3 * ROWS,), -1)
        step[:ROWS] = torch.randint(len(CIRCUIT), (ROWS,), generator=generator)
        taken = step_taken(step)
        for site, mask in others_taken(ROWS, 0.5, generator).items():
            taken[site][ROWS : 2 * ROWS] = mask
        loss = torch.nn.functional.cross_entropy(exchanged(model, base, source, taken), program(base, source, step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    for weight in model.w.values():
        weight.requires_grad_(False)
    return model


@dataclasses.dataclass(frozen=True)
class Checked:
    """Shares of right answers: plain, with each step exchanged, and with any parts outside the circuit exchanged."""

    behaviour: float
    interchange: float
    strict: float


@torch.no_grad()
def checked(model: Planted) -> Checked:
    """Whether the circuit is where it was planted: on all pairs of prompts."""
    every = torch.tensor(list(itertools.product(range(VALUES), repeat=3)))
    base, source = every.repeat_interleave(len(every), 0), every.repeat(len(every), 1)
    interchange: list[Tensor] = []
    for number in range(len(CIRCUIT)):
        step = torch.full((len(base),), number)
        said = exchanged(model, base, source, step_taken(step)).argmax(-1)
        interchange.append((said == program(base, source, step)).float().mean())
    taken = others_taken(len(base), 0.5, torch.Generator().manual_seed(0))
    strict = (exchanged(model, base, source, taken).argmax(-1) == answers(base)).float().mean()
    plain = (exchanged(model, every, every, {}).argmax(-1) == answers(every)).float().mean()
    return Checked(float(plain), float(min(interchange)), float(strict))


def problem_of(model: Planted, count: int = 32) -> Problem:
    """Pairs whose three values all differ, and so do their answers; heads and MLPs are the nodes, by position."""
    every = list(itertools.product(range(VALUES), repeat=3))
    all_pairs = [(x, y) for x, y in itertools.product(every, every) if all(a != b for a, b in zip(x, y, strict=True))]
    clean, counter = (torch.tensor([pair[side] for pair in all_pairs]) for side in (0, 1))
    answer, other = answers(clean), answers(counter)
    chosen = (answer != other).nonzero()[:, 0]
    chosen = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))[:count]]
    roles = ("BOS", "a", "b", "c", "query")
    pairs = [
        Pair(tuple(x), tuple(y), right, wrong, roles, f"{x}", f"{y}")
        for x, y, right, wrong in zip(
            prompts(clean[chosen]).tolist(), prompts(counter[chosen]).tolist(),
            answer[chosen].tolist(), other[chosen].tolist(), strict=True,
        )
    ]  # fmt: skip
    placed = {s: mediators.mediator("heads" if s.kind == "attn_z" else "sites", model, s) for s in SITES}
    return Problem.of(model, placed, pairs)


def true_nodes() -> set[Node]:
    """The circuit as nodes of `problem_of`."""
    return {Node(site, "head" if site.kind == "attn_z" else "site", number, LAST) for site, number in CIRCUIT}


def true_edges() -> set[tuple[Node, Node]]:
    """Which of them reads which."""
    node = {part: Node(part[0], "head" if part[0].kind == "attn_z" else "site", part[1], LAST) for part in CIRCUIT}
    return {(node[up], node[down]) for up, down in EDGES}


def connected(node: Node) -> bool:
    """Whether anything leads from the node to the answer: in the last block only the last token's parts do."""
    assert node.site is not None
    return node.site.layer == 0 or node.position == LAST


def auroc(scores: Mapping[Any, float], truth: set[Any]) -> float:
    """The probability that a true one scores above a false one, ties counted half (Hanley and McNeil 1982)."""
    true, false = (torch.tensor([s for n, s in scores.items() if (n in truth) == side]) for side in (True, False))
    return float(((true[:, None] > false).float() + 0.5 * (true[:, None] == false).float()).mean())
