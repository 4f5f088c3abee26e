"""All heads of SmolLM2 with their queries, keys and values: estimates against patching every one of them exactly.

Every head node at every token position, on a few pairs of the agreement task. What matters is what an estimate costs beside
the sweep, and how many of the truly largest nodes it puts first; random nodes would find as many as the last row says.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import torch
from bench.harness import Setting, Table
from torch import Tensor

from circuits import mediators, methods
from circuits.effects import Effects
from circuits.problem import Problem
from data import tasks
from data.models import Subject
from data.words import Site

PARTS = {"queries": "attn_q", "keys": "attn_k", "values": "attn_v", "heads": "attn_z"}
ESTIMATES = ("atp_star", "atp_qk", "attribution_patching", "relp")
TOP = 100


def tables(setting: Setting) -> Iterator[Table]:
    """One table: a row for each estimate."""
    problem = _problem(setting)
    assert problem.states  # what all of them need is not counted
    assert problem.clean_logits is not None
    began = time.perf_counter()
    exact = methods.estimate(problem, "exact", 1)
    sweep = time.perf_counter() - began
    top = min(TOP, len(exact.nodes) // 4)
    title = f"{len(exact.nodes):,} heads, queries, keys and values on {len(problem)} pairs; exact in {sweep:,.0f} s"
    columns = ("method", "seconds", "times faster", f"of the true top {top}", "queries", "keys", "Pearson")
    table = Table(title, columns)
    for method in ESTIMATES:
        began = time.perf_counter()
        found = methods.estimate(problem, method, 1)
        seconds = time.perf_counter() - began
        score = found.mean_absolute if found.score is None else found.score
        table.rows.append((method, seconds, sweep / seconds, *_compared(score, exact, top)))
    table.rows.append(("random", "", "", top / len(exact.nodes), "", "", ""))
    table.notes.append(
        "Truth: the mean absolute effect. The columns of queries and keys are the recall of those alone; what counts as "
        "the truly largest there is the same share of them."
    )
    yield table


def _problem(setting: Setting) -> Problem:
    subject = Subject.open()
    drawn = tasks.pairs("agreement", subject.tokenize, prefix=subject.prefix, seed=0)
    pairs = list(itertools.islice(drawn, setting.of(2, 1)))
    layers = range(setting.of(0, subject.layers - 2), subject.layers)
    placed = {
        Site(layer, kind): mediators.mediator(name, subject, Site(layer, kind))
        for layer in layers
        for name, kind in PARTS.items()
    }
    return Problem.of(subject, placed, pairs)


def _compared(score: Tensor, exact: Effects, top: int) -> Iterator[float]:
    truth = exact.mean_absolute
    yield _recall(score, truth, top)
    for kind in ("attn_q", "attn_k"):
        mine = torch.tensor([n.site is not None and n.site.kind == kind for n in exact.nodes])
        yield _recall(score[mine], truth[mine], max(1, top * int(mine.sum()) // len(truth)))
    yield float(torch.corrcoef(torch.stack([score, truth]))[0, 1])


def _recall(score: Tensor, truth: Tensor, top: int) -> float:
    """The share of the `top` largest of `truth` that are among those of `score`."""
    best, found = (set(values.topk(top).indices.tolist()) for values in (truth, score))
    return len(best & found) / top
