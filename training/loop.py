"""The training loop: fill the reservoir, draw a batch, train every stack on it, keep the curves.

1. Curves go to metrics/RUN/part-*.parquet as they come, one row per dictionary and step; figures leave the device a
   few steps at a time.
2. Every so often all dictionaries are measured on the same held-out tokens (`training.watch`).
3. A checkpoint is written every so often, and when interrupted.

In a group (`training.group`) all processes go through the same steps; the first alone writes.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from data.errors import Mistake
from data.runs import Run
from training import checkpoint
from training.checkpoint import State
from training.config import LoopConfig
from training.group import Alone
from training.progress import Show, whole
from training.reservoir import mixing
from training.stack import MEASURES
from training.watch import Watch

CURVE = 50
"""Steps between two Parquet parts of the training curve."""


@dataclass(frozen=True)
class Went:
    """How one step went: `measures` [member, measure] of each stack, and the documents in the batch."""

    step: int
    time: float
    documents: int
    measures: list[Tensor]


@dataclass
class Work:
    """A training run under way."""

    run: Run
    config: LoopConfig
    state: State
    show: Show
    curve: list[Went] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)
    """Documents in each batch of this process so far: how well the shuffle mixes."""

    @property
    def folder(self) -> Path:
        """Where the checkpoints are."""
        return self.run.folder / "checkpoints"

    @property
    def group(self) -> Alone:
        """The processes that share the work."""
        return self.state.stacks[0].group


def loop(work: Work) -> None:
    """Steps until the run's tokens are used up; a checkpoint is left behind when interrupted."""
    watch = Watch(work.run, work.config, work.state)
    try:
        with work.group.listening():
            _steps(work, watch)
    finally:
        work.state.ahead.close()
        write_curve(work, watch)
        watch.close()
    if work.documents:
        work.run.summary["mixing"] = round(statistics.mean(work.documents), 2)


def _steps(work: Work, watch: Watch) -> None:
    try:
        while work.state.step < work.config.steps:
            fill(work)
            with whole():
                one_step(work)
            work.group.halt()
            _keep(work, watch)
    except KeyboardInterrupt:
        _save(work)
        raise
    except Mistake:  # such as a text that cannot be had any longer; a group may have lost a process, and cannot agree
        if work.group.world == 1:
            _save(work)
        raise


def _keep(work: Work, watch: Watch) -> None:
    """Measures, curves and checkpoints, each when its time has come."""
    state, config = work.state, work.config
    if work.group.first and config.evaluate_every and state.step % config.evaluate_every == 0:
        with state.ahead.paused():
            watch.look(work.show)
    if state.step % CURVE == 0:
        write_curve(work, watch)
    if state.step % config.checkpoint_every == 0 or state.step == config.steps:
        write_curve(work, watch)
        _save(work)


def _save(work: Work) -> None:
    """Writes a checkpoint of what all processes hold."""
    group, state = work.group, work.state
    if group.world > 1:
        group.same(_fingerprint(state), "weights")
    if group.first:
        checkpoint.save(work.folder, state, keep=work.config.keep)


def _fingerprint(state: State) -> str:
    """What tells whether two processes hold the same dictionaries, Adam's moments included."""
    found = hashlib.blake2b(digest_size=16)
    for stack in state.stacks:
        for tensor in stack.state().values():
            found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def one_step(work: Work) -> None:
    """Draws a batch and trains every dictionary on it."""
    state, config = work.state, work.config
    rows = state.reservoir.take(config.batch)
    measures = [stack.step(rows.values, state.step) for stack in state.stacks]
    documents = mixing(rows)
    state.step += 1
    work.curve.append(Went(state.step, time.time(), documents, measures))
    work.documents.append(documents)
    work.show("training", state.step * config.batch, config.steps * config.batch)


def fill(work: Work) -> None:
    """Reads from the stream until the reservoir is full, or holds all that the remaining steps need."""
    state, config = work.state, work.config
    wanted = min(config.buffer, (config.steps - state.step) * config.batch)
    while len(state.reservoir) < wanted:
        with whole():
            waiting = state.pending
            rows = waiting if waiting is not None and len(waiting) else state.ahead.next()
            state.pending = state.reservoir.add(rows)
        work.group.halt()
        if state.step == 0:
            work.show("filling the shuffle", len(state.reservoir), wanted)


def write_curve(work: Work, watch: Watch) -> None:
    """Writes the steps since the last part."""
    rows = [row for went in work.curve for row in _rows(work, went)] if work.group.first else []
    if rows:
        part = f"metrics/{work.run.run}/part-{work.curve[-1].step:08d}.parquet"
        work.run.workspace.write_part(part, pa.Table.from_pylist(rows))
        watch.curve(rows)
    work.curve.clear()


def _rows(work: Work, went: Went) -> list[dict[str, object]]:
    found = {
        plan: values
        for stack, measures in zip(work.state.stacks, went.measures, strict=True)
        for plan, values in zip(stack.plans, measures.tolist(), strict=True)
    }
    return [
        {"step": went.step, "tokens": went.step * work.config.batch, "site": plan.place, "dictionary": plan.name}
        | dict(zip(MEASURES, values, strict=True)) | {"documents": went.documents, "time": went.time}
        for plan, values in ((plan, found[plan]) for plan in work.state.plans)
    ]  # fmt: skip
