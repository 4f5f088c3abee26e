"""Our own training loop on a task: `training.loop` as `lacewing train` and `lacewing sweep` run it, up to its end.

The text is the bundled sample, cut into the same blocks. Curves and the last checkpoint are written as in any run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from report import Clock, Task, hushed, task, tell

from data import runs
from data.store import Workspace
from training.checkpoint import State
from training.config import LoopConfig, SweepConfig, TrainConfig
from training.finish import read_ordinary
from training.loop import Work, loop
from training.preflight import preflight
from training.stream import calibration_blocks
from training.train import begin, open_stream, open_subject, plans_of, train
from training.watch import inference_of

CALIBRATED = 4096


def main() -> None:
    given = task()
    with hushed():
        if given.part == "loop":
            made = [together(given)] if given.together else [alone(given, k) for k in given.k]
        else:
            made = [{"whole": whole, "forecast": forecast}[given.part](given)]
    tell(made)


def shared(given: Task) -> dict[str, Any]:
    return {
        "model": given.model, "sites": f"resid_post:{given.layer}", "architecture": given.architecture,
        "tokens": given.tokens, "batch": given.batch, "buffer": given.buffer, "device": given.device,
        "text": given.text, "context": given.context, "checkpoint_every": 10**9, "ahead": 2 * (given.device != "cpu"),
    }  # fmt: skip


def alone(given: Task, k: int) -> dict[str, Any]:
    """One dictionary, as `lacewing train` does it."""
    return trained(given, single(given, k), [k])


def single(given: Task, k: int) -> TrainConfig:
    return TrainConfig(latents=given.latents, k=k, learning_rate=given.rate, **shared(given))


def together(given: Task) -> dict[str, Any]:
    """All dictionaries on one stream, as `lacewing sweep` does it."""
    sizes = {"latents": str(given.latents), "k": ",".join(map(str, given.k)), "learning_rate": str(given.rate)}
    return trained(given, SweepConfig(**sizes, **shared(given)), given.k)


def trained(given: Task, config: LoopConfig, k: list[int]) -> dict[str, Any]:
    subject, wanted = open_subject(config, lambda *_: None), plans_of(config)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder) / "workspace", create=True)
        with runs.start(workspace, "train", config, seed=0, inputs={}) as run:
            clock = Clock()
            state = begin(config, open_stream(config, subject, wanted), wanted)
            loop(Work(run, config, state, noting(clock)))
            told = clock.told()
    return told | {"k": k, "folders": saved(Path(given.out), state)}


def whole(given: Task) -> dict[str, Any]:
    """All of `lacewing train`, evaluation and all; `folders` is left empty."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        train(Workspace.open(Path(folder) / "workspace", create=True), single(given, given.k[0]))
    return clock.told() | {"tokens": given.tokens, "k": given.k, "folders": []}


def forecast(given: Task) -> dict[str, Any]:
    """The peak of memory that `lacewing train --dry-run` announces."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        told = preflight(Workspace.open(Path(folder) / "workspace", create=True), single(given, given.k[0]))
    return clock.told() | {"k": given.k, "folders": [], "announced": told.peak}


def noting(clock: Clock) -> Any:
    """A progress display that notes the tokens trained."""

    def show(what: str, done: int, total: int) -> None:
        if what == "training":
            clock.trained(done - clock.tokens)

    return show


@torch.no_grad()
def saved(out: Path, state: State) -> list[str]:
    """Each dictionary in the SAELens layout, thresholds set on text that was not trained on."""
    stream = state.stream
    rows = read_ordinary(stream.subject, calibration_blocks(stream, CALIBRATED), stream, lambda *_: None)
    folders = []
    for stack, place in state.members:
        folders.append(str(out / f"k{stack.plans[place].k:g}"))
        inference_of(stack, place, rows).save_model(folders[-1])
    return folders


if __name__ == "__main__":
    main()
