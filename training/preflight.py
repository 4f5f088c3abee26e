"""`--dry-run`: what a training run would take, measured on a few real steps, before it is begun.

1. The subject reads real text and the dictionaries take `STEPS` steps, each timed apart after a warm-up. As later in a
   run, a tenth of the latents count as dead, so that the auxiliary loss has its share.
2. Variants are measured too, k doubled and the subject in the other precision; `training.forecast` puts it all together.
3. Memory is that of `training.needs` with what came and went meanwhile; a run that does not fit is refused.

Nothing is written into the workspace. Times are medians; those of the end of a run are an estimate.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from data.runs import peak_memory
from data.store import Workspace
from training.checkpoint import State
from training.config import LoopConfig
from training.forecast import Forecast, Measured, choices
from training.needs import PASS, Job, Passing, free_disk, free_memory, job_of, refuse
from training.progress import Show, progress_bar
from training.stack import SILENT, Stack
from training.stream import Stream
from training.train import begin, open_stream, open_subject, plans_of

STEPS = 20
"""Dictionary steps that are timed."""
WARM = 3
"""Steps and passes before, which are not: the first ones are slower."""
READS = 4
"""Forward passes that are timed."""
DEAD = 0.1
"""Share of latents that count as dead meanwhile; at the end of runs on SmolLM2 it is 0.02 to 0.15."""
WRITTEN = 32_000_000
"""Bytes written to a nameless file to see how fast the disk is."""


def preflight(workspace: Workspace, config: LoopConfig) -> Forecast:
    """Measures what `config` would take; raises `Mistake` as `train` does, and when it does not fit."""
    wanted = plans_of(config)
    with progress_bar() as show:
        began = time.perf_counter()
        subject = open_subject(config, show)
        opening = time.perf_counter() - began
        job = job_of(config, subject, wanted)
        stream = open_stream(config, subject, wanted)
        free, resident = free_memory(subject.device), resident_memory(subject.device)
        refuse(workspace, job, Passing(), free=free)
        measured, passing = measure(workspace, job, stream, opening, show)
    refuse(workspace, job, passing, free=free)
    found = Forecast(job, measured, passing, resident, (free, free_disk(workspace.folder)))
    return replace(found, choices=choices(job, measured, passing, resident))


def measure(workspace: Workspace, job: Job, stream: Stream, opening: float, show: Show) -> tuple[Measured, Passing]:
    """Takes the steps: seconds of each part, and the memory that came and went."""
    device = stream.subject.device
    small = replace(job.config, buffer=2 * job.config.batch + PASS * job.config.context)
    before = resident_memory(device)
    with _peak(device) as start:
        began = time.perf_counter()
        state = begin(small, stream, list(job.plans))
        starting = time.perf_counter() - began
    with _peak(device) as training:
        reading = _reading(stream, show)
        step = _stepping(state, small, 1, show)
    wider = _stepping(state, small, 2, show)
    predicting = _predicting(stream)
    stream.subject.model.to(torch.float32 if job.config.precision == "bf16" else torch.bfloat16)
    other = _reading(stream, show)
    taken = training[0] - before - 4 * job.weights - state.reservoir.memory
    return (
        Measured(opening, starting, reading, other, predicting, step, wider, _writing(workspace.folder)),
        Passing(max(0, start[0] - before), max(0, taken)),
    )


def _reading(stream: Stream, show: Show) -> float:
    taken = []
    for number in range(WARM + READS):
        began = time.perf_counter()
        rows = stream.next()
        _settle(stream.subject.device)
        taken.append((time.perf_counter() - began) / max(1, len(rows)))
        show("measuring the model", number + 1, WARM + READS)
    return statistics.median(taken[WARM:])


def _stepping(state: State, config: LoopConfig, times: int, show: Show) -> float:
    """Seconds of a step of all stacks, with k multiplied by `times`."""
    device = state.reservoir.values.device
    plans = [stack.plans for stack in state.stacks]
    for stack in state.stacks:
        stack.plans = [replace(plan, k=min(times * plan.k, plan.latents)) for plan in stack.plans]
    while len(state.reservoir) < config.batch:
        state.reservoir.add(state.ahead.next())
    taken = []
    for number in range(WARM + STEPS):
        rows = state.reservoir.take(config.batch)
        _settle(device)
        began = time.perf_counter()
        for stack in state.stacks:
            _bury(stack)
            stack.step(rows.values, 0)
        _settle(device)
        taken.append(time.perf_counter() - began)
        state.reservoir.add(rows)
        show("measuring the steps", number + 1, WARM + STEPS)
    for stack, own in zip(state.stacks, plans, strict=True):
        stack.plans = own
    return statistics.median(taken[WARM:])


def _bury(stack: Stack) -> None:
    """Lets a share of the latents count as dead."""
    stack.silent[:, : int(DEAD * stack.silent.shape[1])] = SILENT + 1


def _predicting(stream: Stream) -> float:
    tokens = torch.from_numpy(stream.upcoming(PASS).tokens)
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        with torch.no_grad():
            stream.subject.run(tokens)
        _settle(stream.subject.device)
        taken.append(time.perf_counter() - began)
    return min(taken[1:]) / tokens.numel()


def _settle(device: torch.device) -> None:
    """Waits for a GPU to have done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _writing(folder: Path) -> float:
    """Seconds per byte, on a file without a name: it is gone whatever happens."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    block = bytes(1_000_000)
    with tempfile.TemporaryFile(dir=place) as file:
        began = time.perf_counter()
        for _ in range(WRITTEN // len(block)):
            file.write(block)
        file.flush()
        return (time.perf_counter() - began) / WRITTEN


@contextlib.contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """The most bytes that the process has had in memory (or on a GPU) within the block; known on leaving it."""
    found: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found.append(torch.cuda.max_memory_allocated(device))
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak counts from now on
    yield found
    found.append(peak_memory())


def resident_memory(device: torch.device) -> int:
    """Bytes that this process has in memory now (or on a GPU); where the system does not tell, its peak so far."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return peak_memory()
