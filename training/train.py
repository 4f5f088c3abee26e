"""`lacewing train`: text and a model go in, one dictionary per site comes out.

1. The text's train split is cut into blocks; a sample gives each site's mean, scale and first latents.
2. The stream fills the reservoir; each step draws one batch from it and trains every site's dictionary on it.
3. Curves go to metrics/RUN/part-*.parquet as they come; a checkpoint every so often, and when interrupted.
4. `training.finish` calibrates, saves, evaluates and registers.

`resume` does the same from the newest checkpoint; what it makes is what the uninterrupted run would have made.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from rich.console import Console

from data import runs
from data.config import build
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.texts import text_digest
from training import checkpoint
from training.checkpoint import State
from training.config import TrainConfig
from training.finish import CALIBRATED, Evidence, finish, read_ordinary
from training.learner import Learner
from training.progress import Show, progress_bar, telling, whole
from training.reservoir import Reservoir
from training.stream import Scales, Stream, calibration_blocks, heldout_blocks, measure, ordinary, read
from training.stream import open_stream as stream_of

MEASURED = 8192
"""Tokens that means, scales and first latents are taken from."""
CURVE = 50
"""Steps between two Parquet parts of the training curve."""
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass
class Work:
    """A training run under way."""

    run: runs.Run
    config: TrainConfig
    state: State
    show: Show
    curve: list[dict[str, Any]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the checkpoints are."""
        return self.run.folder / "checkpoints"


def train(workspace: Workspace, config: TrainConfig, *, console: Console | None = None) -> list[str]:
    """Trains a dictionary at each site and returns their digests; an equal finished run is not repeated.

    Raises `Mistake` on an unknown model or site, a text too short, or a disk too small.
    """
    with progress_bar(console) as show:
        show("opening the model", 0, 1)
        subject = Subject.open(config.model, dtype=DTYPES[config.precision])
        inputs = inputs_of(config, subject)
        if done := runs.finished(workspace, "train", config, inputs):
            return made_by(workspace, done)
        stream = open_stream(config, subject)
        check_space(workspace, config, subject)
        with runs.start(workspace, "train", config, seed=config.seed, inputs=inputs) as run:
            return _go(Work(run, config, begin(config, stream), telling(run, show)))


def resume(workspace: Workspace, run: str, *, console: Console | None = None) -> list[str]:
    """Goes on with training run `run` from its newest checkpoint (from the start, if it had none)."""
    record = runs.find(workspace, run)
    if record["verb"] != "train":
        raise Mistake(f"Run {record['run']} is a `{record['verb']}` run; only training runs can be resumed.")
    config = build(TrainConfig, record["config"], where=f"run {record['run']}")
    with progress_bar(console) as show:
        show("opening the model", 0, 1)
        subject = Subject.open(config.model, dtype=DTYPES[config.precision])
        if runs.recipe_of("train", config.__dict__, inputs_of(config, subject)) != record["recipe"]:
            raise Mistake(
                f"Run {record['run']} cannot go on: its model, its text or lacewing's version changed since. "
                f"Start it anew with `lacewing train`."
            )
        stream = open_stream(config, subject)
        with runs.resume(workspace, record["run"]) as again:
            latest = checkpoint.newest(again.folder / "checkpoints")
            state = begin(config, stream, checkpoint.scales_of(latest) if latest else None)
            if latest:
                checkpoint.load(latest, state)
            _forget_after(again, state.step)
            return _go(Work(again, config, state, telling(again, show)))


def inputs_of(config: TrainConfig, subject: Subject) -> dict[str, str]:
    """The digests of what training works on."""
    return {"model": subject.digest, "text": text_digest(config.text)}


def made_by(workspace: Workspace, run: str) -> list[str]:
    """The digests of the dictionaries that `run` made, shallowest first."""
    with workspace.read() as db:
        rows = db.execute("select dictionary from dictionaries where run = ? order by layer, site", [run]).fetchall()
    return [row[0] for row in rows]


def open_stream(config: TrainConfig, subject: Subject) -> Stream:
    """The activations of the text's train split at the sites, in the order of training; raises `Mistake`."""
    stream = stream_of(subject, config.text, config.places, context=config.context, seed=config.seed)
    if stream.shelf.tokens_without_prefix < config.batch:
        raise Mistake(
            f"The text has {stream.shelf.tokens_without_prefix} tokens to train on, less than one batch of {config.batch}. "
            f"Give a longer text with --text, or lower --batch and --buffer."
        )
    return stream


def check_space(workspace: Workspace, config: TrainConfig, subject: Subject) -> None:
    """Raises `Mistake` unless the disk has room for the checkpoints and the dictionaries."""
    width = DTYPES[config.precision].itemsize
    weights = 4 * 2 * config.latents * subject.d_model * len(config.places)
    reservoir = config.buffer * len(config.places) * subject.d_model * width
    needed = (checkpoint.KEPT + 1) * (3 * weights + reservoir) + weights
    free = shutil.disk_usage(workspace.folder).free
    if free < needed:
        raise Mistake(
            f"Training needs up to {needed / 1e9:.1f} GB for checkpoints and dictionaries, but "
            f"{str(workspace.folder)!r} has {free / 1e9:.1f} GB free. Free some, lower --buffer, or use "
            f"another --workspace."
        )


def begin(config: TrainConfig, stream: Stream, scales: Scales | None = None) -> State:
    """A run's state before its first step; `scales` are measured unless a checkpoint knows them."""
    rows = None
    if scales is None:
        rows = read(stream.subject, stream.upcoming(1 + MEASURED // config.context), stream.sites)
        scales = measure(rows)
        rows = rows[ordinary(rows, scales.limit)]
    stream.limit = scales.limit
    learners = [
        Learner(config, site, scales.mean[i], scale=scales.scale[i].item()) for i, site in enumerate(config.places)
    ]
    for index, learner in enumerate(learners):
        if rows is not None:
            learner.begin_at(rows[:, index])
    dtype = DTYPES[config.precision]
    width = stream.subject.d_model
    reservoir = Reservoir(config.buffer, len(config.places), width=width, dtype=dtype, seed=config.seed)
    return State(learners, reservoir, stream, scales)


def _go(work: Work) -> list[str]:
    """Trains to the end, then finishes."""
    loop(work)
    state, config = work.state, work.config
    stream = state.stream
    state.reservoir.values = state.reservoir.values.new_empty(0)  # frees the memory before the fp32 model needs it
    chosen = calibration_blocks(stream, CALIBRATED)
    heldout = heldout_blocks(stream.subject, config.text, context=config.context)
    if config.precision != "fp32":
        stream.subject.model.to("meta")  # frees it, though callers hold it: two models at once are the run's peak
        stream.subject = Subject.open(config.model)
    subject = stream.subject
    calibration = read_ordinary(subject, chosen, stream, work.show)
    evidence = Evidence(subject, calibration, heldout, state.scales)
    made = finish(work.run, config, list(state.learners), evidence=evidence, progress=work.show)
    work.run.summary |= {"dictionaries": made, "epochs": round(stream.epochs, 3) if stream.epochs is not None else None}
    shutil.rmtree(work.folder, ignore_errors=True)
    return made


def loop(work: Work) -> None:
    """Steps until the run's tokens are used up; a checkpoint is left behind when interrupted."""
    state, config = work.state, work.config
    try:
        while state.step < config.steps:
            fill(work)
            with whole():
                one_step(work)
            if state.step % config.checkpoint_every == 0 or state.step == config.steps:
                _write_curve(work)
                checkpoint.save(work.folder, state)
    except KeyboardInterrupt:
        checkpoint.save(work.folder, state)
        raise
    finally:
        _write_curve(work)


def one_step(work: Work) -> None:
    """Draws a batch and trains every dictionary on it."""
    state, config = work.state, work.config
    rows = state.reservoir.take(config.batch).values
    now = time.time()
    for index, learner in enumerate(state.learners):
        went = learner.step(rows[:, index], state.step)
        work.curve.append({
            "step": state.step + 1, "tokens": (state.step + 1) * config.batch, "site": str(learner.site),
            "loss": went.loss, "explained_variance": went.explained_variance, "l0": went.l0, "dead": went.dead,
            "time": now,
        })  # fmt: skip
    state.step += 1
    if state.step % CURVE == 0:
        _write_curve(work)
    work.show("training", state.step * config.batch, config.steps * config.batch)


def fill(work: Work) -> None:
    """Reads from the stream until the reservoir is full, or holds all that the remaining steps need."""
    state, config = work.state, work.config
    wanted = min(config.buffer, (config.steps - state.step) * config.batch)
    while state.reservoir.filled < wanted:
        with whole():
            waiting = state.pending
            rows = waiting if waiting is not None and len(waiting) else state.stream.next()
            state.pending = state.reservoir.add(rows)
        if state.step == 0:
            work.show("filling the shuffle", state.reservoir.filled, wanted)


def _write_curve(work: Work) -> None:
    if work.curve:
        part = f"metrics/{work.run.run}/part-{work.curve[-1]['step']:08d}.parquet"
        work.run.workspace.write_part(part, pa.Table.from_pylist(work.curve))
        work.curve.clear()


def _forget_after(run: runs.Run, step: int) -> None:
    """Removes curve parts written after the checkpoint at `step`: those steps are done again."""
    for part in run.folder.glob("part-*.parquet"):
        if int(part.stem.removeprefix("part-")) > step:
            part.unlink()
