"""`lacewing train` and `sweep`: text and a model go in, dictionaries come out, all from one stream of activations.

1. The config is multiplied out into plans, one per dictionary; those of one kind and shape form a stack.
2. The text's train split is cut into blocks; a sample gives each site's mean, scale and the first latents.
3. The stream fills the reservoir; each step draws one batch from it and trains every stack on it (`training.loop`).
4. `training.finish` calibrates, saves, evaluates and registers.

`resume` does the same from the newest checkpoint; what it makes is what the uninterrupted run would have made.
"""

from __future__ import annotations

import shutil

import torch
from rich.console import Console

from data import queries, runs
from data.config import build
from data.errors import Mistake
from data.models import Subject
from data.runs import Run
from data.store import Workspace
from data.texts import text_digest
from data.words import Site
from training import checkpoint
from training.checkpoint import Saved, State
from training.config import LoopConfig, SweepConfig, TrainConfig
from training.finish import finish
from training.loop import Work, loop
from training.needs import check_fits
from training.plans import Plan, plans, stacks_of
from training.progress import Show, progress_bar, telling
from training.reservoir import Reservoir
from training.stack import Stack, seat
from training.stream import Stream, measure, ordinary, read
from training.stream import open_stream as stream_of

MEASURED = 8192
"""Tokens that means, scales and first latents are taken from."""
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
VERBS: dict[str, type[LoopConfig]] = {"train": TrainConfig, "sweep": SweepConfig}


def train(workspace: Workspace, config: LoopConfig, *, console: Console | None = None) -> list[str]:
    """Trains every dictionary of `config` (a `TrainConfig` or a `SweepConfig`) and returns their digests, in order.

    An equal finished run is not repeated. Raises `Mistake` on an unknown model, site or architecture, a text too
    short, or a disk too small.
    """
    verb = "sweep" if isinstance(config, SweepConfig) else "train"
    wanted = plans_of(config)
    with progress_bar(console) as show:
        subject = open_subject(config, show)
        inputs = inputs_of(config, subject)
        if done := runs.finished(workspace, verb, config, inputs):
            return made_by(workspace, done)
        stream = open_stream(config, subject, wanted)
        check_fits(workspace, config, subject, wanted)
        with runs.start(workspace, verb, config, seed=seed_of(config), inputs=inputs) as run:
            return _go(Work(run, config, begin(config, stream, wanted), telling(run, show)))


def resume(workspace: Workspace, run: str, *, console: Console | None = None) -> list[str]:
    """Goes on with training run `run` from its newest checkpoint (from the start, if it had none)."""
    record = runs.find(workspace, run)
    if record["verb"] not in VERBS:
        raise Mistake(f"Run {record['run']} is a `{record['verb']}` run; only training runs can be resumed.")
    config = build(VERBS[record["verb"]], record["config"], where=f"run {record['run']}")
    with progress_bar(console) as show:
        subject = open_subject(config, show)
        if runs.recipe_of(record["verb"], config.__dict__, inputs_of(config, subject)) != record["recipe"]:
            raise Mistake(
                f"Run {record['run']} cannot go on: its model, its text or lacewing's version changed since. "
                f"Start it anew with `lacewing {record['verb']}`."
            )
        wanted = plans_of(config)
        stream = open_stream(config, subject, wanted)
        with runs.resume(workspace, record["run"]) as again:
            state = begin(config, stream, wanted, checkpoint.read(again.folder / "checkpoints"))
            _forget_after(again, state.step)
            return _go(Work(again, config, state, telling(again, show)))


def plans_of(config: LoopConfig) -> list[Plan]:
    """The dictionaries that `config` asks for; raises `Mistake` on an unknown architecture or setting."""
    if isinstance(config, SweepConfig):
        seeds = range(config.seed, config.seed + config.seeds)
        latents, k, rates = (
            config.values(name, kind) for name, kind in (("latents", int), ("k", float), ("learning_rate", float))
        )
        return plans(
            config.architecture, config.places, latents=[int(n) for n in latents], k=k, learning_rate=rates, seed=seeds
        )
    assert isinstance(config, TrainConfig)
    return plans(
        config.architecture, config.places, latents=[config.latents], k=[float(config.k)],
        learning_rate=[config.learning_rate], seed=[config.seed],
    )  # fmt: skip


def sites_of(wanted: list[Plan]) -> tuple[Site, ...]:
    """The sites that the plans read and write, in the order in which a forward pass meets them."""
    return tuple(sorted({site for plan in wanted for site in plan.reads + plan.writes}))


def seed_of(config: LoopConfig) -> int:
    """The seed of the order of the text and the shuffle."""
    return getattr(config, "seed", 0)


def device_of(config: LoopConfig) -> str:
    """Where `config` wants model and dictionaries; raises `Mistake` when that is not there."""
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise Mistake(f"device = {config.device!r} was asked for, but torch finds no CUDA GPU; use --device cpu.")
    try:
        return str(torch.device(config.device))
    except RuntimeError as error:
        raise Mistake(f"device = {config.device!r} is not a device; write cpu, cuda or cuda:1.") from error


def open_subject(config: LoopConfig, show: Show) -> Subject:
    """The subject model in the precision and on the device of `config`."""
    show("opening the model", 0, 1)
    return Subject.open(config.model, dtype=DTYPES[config.precision], device=device_of(config))


def inputs_of(config: LoopConfig, subject: Subject) -> dict[str, str]:
    """The digests of what training works on."""
    return {"model": subject.digest, "text": text_digest(config.text)}


def made_by(workspace: Workspace, run: str) -> list[str]:
    """The digests of the dictionaries that `run` made, in the order of its plans."""
    return [row["dictionary"] for row in queries.dictionaries_of_run(workspace, run)]


def open_stream(config: LoopConfig, subject: Subject, wanted: list[Plan]) -> Stream:
    """The activations of the text's train split at the sites, in the order of training; raises `Mistake`."""
    stream = stream_of(subject, config.text, sites_of(wanted), context=config.context, seed=seed_of(config))
    if stream.shelf.tokens_without_prefix < config.batch:
        raise Mistake(
            f"The text has {stream.shelf.tokens_without_prefix} tokens to train on, less than one batch of "
            f"{config.batch}. Give a longer text with --text, or lower --batch and --buffer."
        )
    return stream


def begin(config: LoopConfig, stream: Stream, wanted: list[Plan], saved: Saved | None = None) -> State:
    """A run's state before its first step, or as a checkpoint has it."""
    device = stream.subject.device
    if saved:
        scales, rows = saved.scales, None
    else:
        rows = read(stream.subject, stream.upcoming(1 + MEASURED // config.context), stream.sites)
        scales = measure(rows)
        rows = rows[ordinary(rows, scales.limit)].to(device)
    stream.limit = scales.limit
    stacks = []
    for number, group in enumerate(stacks_of(wanted)):
        members = [wanted[i] for i in group]
        seats = [seat(plan, stream.sites, scales) for plan in members]
        if saved:
            stacks.append(Stack.saved(members, seats, saved.under(f"stack{number}"), config, device))
        else:
            assert rows is not None
            stacks.append(Stack.begin(members, seats, rows, config))
    reservoir = Reservoir(
        config.buffer, len(stream.sites), width=stream.subject.d_model, dtype=DTYPES[config.precision],
        seed=seed_of(config), device=device,
    )  # fmt: skip
    state = State(wanted, stacks, reservoir, stream, scales)
    if saved:
        checkpoint.restore(state, saved)
    return state


def _go(work: Work) -> list[str]:
    """Trains to the end, then finishes."""
    loop(work)
    made = finish(work)
    shutil.rmtree(work.folder, ignore_errors=True)
    return made


def _forget_after(run: Run, step: int) -> None:
    """Removes curve parts written after the checkpoint at `step`: those steps are done again."""
    for part in run.folder.glob("*-*.parquet"):
        if int(part.stem.rpartition("-")[2]) > step:
            part.unlink()
