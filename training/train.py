"""`lacewing train` and `sweep`: text and a model go in, dictionaries come out, all from one stream of activations.

1. The config is multiplied out into plans, one per dictionary; those of one kind and shape form a stack.
2. The text's train split is cut into blocks; the first tokens give each site's mean, scale and the first latents.
3. The stream fills the reservoir; each step draws one batch from it and trains every stack on it (`training.loop`).
4. `training.finish` calibrates, saves, evaluates and registers.

`resume` does the same from the newest checkpoint; what it makes is what the uninterrupted run would have made.
Processes that torchrun started share steps 2 and 3 (`training.group`); the first of them alone writes.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from data import queries, runs
from data.config import build
from data.errors import Mistake
from data.models import Subject
from data.runs import Run
from data.store import Workspace
from data.texts import text_digest
from data.words import Site
from training import checkpoint
from training.ahead import Ahead
from training.checkpoint import Saved, State
from training.config import LoopConfig, SweepConfig, TrainConfig
from training.copies import check as check_sinks
from training.finish import finish
from training.group import Alone, joined
from training.loop import Work, loop
from training.needs import check_fits
from training.plans import Plan, plans, stacks_of
from training.progress import Show, progress_bar, telling
from training.reservoir import Reservoir, Rows
from training.stack import Stack, seat
from training.stream import Scales, Stream, measure, ordinary
from training.stream import open_stream as stream_of

MEASURED = 8192
"""Tokens that means, scales and first latents are taken from."""
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
VERBS: dict[str, type[LoopConfig]] = {"train": TrainConfig, "sweep": SweepConfig}


def train(workspace: Workspace, config: LoopConfig, *, console: Console | None = None) -> list[str]:
    """Trains every dictionary of `config` (a `TrainConfig` or a `SweepConfig`) and returns their digests, in order.

    An equal finished run is not repeated. Raises `Mistake` on an unknown model, site or architecture, a text too
    short, or too little memory or disk. With `dry_run` nothing is trained: the lines of a forecast are returned.
    In a group all but the first process return nothing.
    """
    if getattr(config, "dry_run", False):
        from training.preflight import preflight  # it takes a few steps with this module

        return preflight(workspace, config).lines()
    verb = "sweep" if isinstance(config, SweepConfig) else "train"
    with joined() as group, _shown(group, console) as show:
        with group.agreed():
            check_group(config, group)
            check_sinks(config.sinks)
            wanted = plans_of(config)
            subject = open_subject(config, show, group)
            inputs = inputs_of(config, subject)
            done = runs.finished(workspace, verb, config, inputs) if group.first else None
        group.same(json.dumps(inputs), "model and text")
        if done := group.told(done or "")[0]:
            return made_by(workspace, done) if group.first else []
        with group.agreed():
            stream = open_stream(config, subject, wanted, group)
            if group.first:
                check_fits(workspace, config, subject, wanted)
        start = runs.start(workspace, verb, config, seed=seed_of(config), inputs=inputs) if group.first else None
        with start or _unrecorded(workspace, verb) as run:
            return _go(Work(run, config, begin(config, stream, wanted), telling(run, show) if group.first else show))


def resume(workspace: Workspace, run: str, *, console: Console | None = None) -> list[str]:
    """Goes on with training run `run` from its newest checkpoint (from the start, if it had none)."""
    with joined() as group, _shown(group, console) as show:
        with group.agreed():
            record = _to_resume(workspace, run) if group.first else {}
        record = json.loads(group.told(json.dumps(record))[0])
        config = build(VERBS[record["verb"]], record["config"], where=f"run {record['run']}")
        with group.agreed():
            check_group(config, group)
            subject = open_subject(config, show, group)
            _check_recipe(record, config, inputs_of(config, subject))
            wanted = plans_of(config)
            stream = open_stream(config, subject, wanted, group)
        with runs.resume(workspace, record["run"]) if group.first else _unrecorded(workspace, record["verb"]) as again:
            saved = checkpoint.read(again.folder / "checkpoints") if group.first else None
            state = begin(config, stream, wanted, _from_first(saved, group))
            if group.first:
                _forget_after(again, state.step)
            return _go(Work(again, config, state, telling(again, show) if group.first else show))


def check_group(config: LoopConfig, group: Alone) -> None:
    """Raises `Mistake` when the processes of `group` cannot share what `config` asks for."""
    if config.batch < group.world:
        raise Mistake(f"batch = {config.batch} cannot be shared by {group.world} processes; raise --batch.")


def plans_of(config: LoopConfig) -> list[Plan]:
    """The dictionaries that `config` asks for; raises `Mistake` on an unknown architecture or setting."""
    if isinstance(config, SweepConfig):
        seeds = range(config.seed, config.seed + config.seeds)
        latents, k, rates = (
            config.values(name, kind) for name, kind in (("latents", int), ("k", int), ("learning_rate", float))
        )
        return plans(
            config.architecture,
            config.places,
            latents=[int(n) for n in latents],
            k=[float(n) for n in k],
            learning_rate=rates,
            seed=seeds,
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


def open_subject(config: LoopConfig, show: Show, group: Alone | None = None) -> Subject:
    """The subject model in the precision and on the device of `config`."""
    show("opening the model", 0, 1)
    device = (group or Alone()).device(device_of(config))
    return Subject.open(config.model, dtype=DTYPES[config.precision], device=device)


def inputs_of(config: LoopConfig, subject: Subject) -> dict[str, str]:
    """The digests of what training works on."""
    return {"model": subject.digest, "text": text_digest(config.text)}


def made_by(workspace: Workspace, run: str) -> list[str]:
    """The digests of the dictionaries that `run` made, in the order of its plans."""
    return [row["dictionary"] for row in queries.dictionaries_of_run(workspace, run)]


def open_stream(config: LoopConfig, subject: Subject, wanted: list[Plan], group: Alone | None = None) -> Stream:
    """The activations of the text's train split at the sites, in the order of training; raises `Mistake`."""
    stream = stream_of(
        subject, config.text, sites_of(wanted), context=config.context, seed=seed_of(config), group=group
    )
    if stream.shelf.tokens_without_prefix < config.batch:
        raise Mistake(
            f"The text has {stream.shelf.tokens_without_prefix} tokens to train on, less than one batch of "
            f"{config.batch}. Give a longer text with --text, or lower --batch and --buffer."
        )
    return stream


@dataclass(frozen=True)
class Start:
    """What a run begins from: `rows` gave the scales and give the first weights; `waiting` are trained on first."""

    scales: Scales
    rows: Tensor
    waiting: Rows


def begin(config: LoopConfig, stream: Stream, wanted: list[Plan], saved: Saved | None = None) -> State:
    """A run's state before its first step, or as a checkpoint has it."""
    start = None if saved else _start(stream)
    scales = start.scales if start else saved.scales if saved else None
    assert scales is not None
    stream.limit, device = scales.limit, stream.subject.device
    stacks = []
    for number, group in enumerate(stacks_of(wanted)):
        members = [wanted[i] for i in group]
        seats = [seat(plan, stream.sites, scales) for plan in members]
        if start:
            stacks.append(Stack.begin(members, seats, start.rows.to(device), config, stream.group))
        elif saved:
            stacks.append(Stack.saved(members, seats, saved.under(f"stack{number}"), config, device, stream.group))
    reservoir = Reservoir(
        config.buffer, len(stream.sites), width=stream.subject.d_model, dtype=DTYPES[config.precision],
        seed=seed_of(config), device=device,
    )  # fmt: skip
    waiting = start.waiting if start else None
    state = State(wanted, stacks, reservoir, Ahead(stream, config.ahead), scales, pending=waiting)
    if saved:
        checkpoint.restore(state, saved)
    return state


def _start(stream: Stream) -> Start:
    """Reads the first `MEASURED` tokens of the text (all of it, where it is shorter) and the rest of their pass.

    A group may read more with them than one process does; the same tokens are measured.
    """
    tokens, passes = min(MEASURED, stream.shelf.tokens_without_prefix), [stream.next()]
    while sum(map(len, passes)) < tokens:
        passes.append(stream.next())
    found = Rows(torch.cat([rows.values for rows in passes]), torch.cat([rows.document for rows in passes]))
    scales = measure(found.values[:tokens])
    keep = ordinary(found.values, scales.limit)
    return Start(scales, found.values[:tokens][keep[:tokens]], found[keep])


def _from_first(saved: Saved | None, group: Alone) -> Saved | None:
    """The checkpoint that the first process read, if it has one."""
    numbers = json.loads(group.told(json.dumps(saved.numbers if saved else None))[0])
    tensors = group.from_first(saved.tensors if saved else None)
    return Saved(tensors, numbers) if numbers else None


def _shown(group: Alone, console: Console | None) -> contextlib.AbstractContextManager[Show]:
    return progress_bar(console if group.first else Console(quiet=True))


def _unrecorded(workspace: Workspace, verb: str) -> contextlib.nullcontext[Run]:
    """What the other processes have for the run that the first one records; it is never written."""
    return contextlib.nullcontext(Run(workspace, "", verb, {}, None, ""))


def _to_resume(workspace: Workspace, run: str) -> dict[str, Any]:
    """What is needed of the record of a training run; raises `Mistake` when it is another verb's."""
    record = runs.find(workspace, run)
    if record["verb"] not in VERBS:
        raise Mistake(f"Run {record['run']} is a `{record['verb']}` run; only training runs can be resumed.")
    return {name: record[name] for name in ("run", "verb", "config", "recipe")}


def _check_recipe(record: dict[str, Any], config: LoopConfig, inputs: dict[str, str]) -> None:
    if runs.recipe_of(record["verb"], config.__dict__, inputs) != record["recipe"]:
        raise Mistake(
            f"Run {record['run']} cannot go on: its model, its text or lacewing's version changed since. "
            f"Start it anew with `lacewing {record['verb']}`."
        )


def _go(work: Work) -> list[str]:
    """Trains to the end, then finishes; that is the first process' alone."""
    loop(work)
    if not work.group.first:
        return []
    made = finish(work)
    shutil.rmtree(work.folder, ignore_errors=True)
    return made


def _forget_after(run: Run, step: int) -> None:
    """Removes curve parts written after the checkpoint at `step`: those steps are done again."""
    for part in run.folder.glob("*-*.parquet"):
        if int(part.stem.rpartition("-")[2]) > step:
            part.unlink()
