"""What a training run needs of memory and disk, by part, from its config alone; and whether the machine has it.

1. A run has two peaks: while it trains (the reservoir, and four copies of the weights: themselves, their gradients and
   Adam's two moments), and at its end (the subject in fp32, activations to calibrate and judge on, logits).
2. What forward passes and steps take besides is `Passing`: nothing until it is measured (`training.preflight`).
3. `check_fits` refuses what surely cannot fit, and says what would.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from training.config import LoopConfig
from training.plans import Plan, stacks_of

FP32 = 4
"""Bytes of a number in dictionaries, calibration and evaluation."""
SAMPLE = 8_192
"""Tokens that scales and first weights come from, that thresholds are set on, and that dictionaries are judged on."""
DENSE = 4
"""Copies of [tokens, d_sae] at once where a threshold is looked for: pre-activations, a copy that is partly sorted, and
its places in 8 bytes."""
LOGITS = 3
"""Copies of a pass' logits in fp32 at once: clean, spliced, and their log-probabilities."""
PASS = 4
"""Blocks in a pass with logits (`training.heldout`)."""
KEPT = 0.5
"""Share of what came and went in training that the allocator still holds at the end; 0.3 to 0.6 was seen."""
CURVE_ROW = 80
"""Bytes of a row of the training curve in Parquet, 50 steps to a part."""


@dataclass(frozen=True)
class Job:
    """A run to be: what was asked, and what the subject is."""

    config: LoopConfig
    plans: tuple[Plan, ...]
    d_model: int
    vocabulary: int
    parameters: int
    """Of the subject."""

    @property
    def sites(self) -> int:
        """How many sites are read or written in all."""
        return len({site for plan in self.plans for site in plan.reads + plan.writes})

    @property
    def itemsize(self) -> int:
        """Bytes of a number of the subject, and in the reservoir."""
        return 2 if self.config.precision == "bf16" else FP32

    @property
    def token(self) -> int:
        """Bytes of a token's activations at all sites in fp32."""
        return self.sites * self.d_model * FP32

    @property
    def weights(self) -> int:
        """Bytes of the weights of all dictionaries."""
        return sum(self.of(plan) for plan in self.plans)

    def of(self, plan: Plan) -> int:
        """Bytes of one dictionary's weights: a row to read and a row to write per latent."""
        return FP32 * plan.latents * self.d_model * (len(plan.reads) + len(plan.writes))

    @property
    def largest_stack(self) -> int:
        """Bytes of the weights of the stack that has most."""
        return max(sum(self.of(self.plans[i]) for i in group) for group in stacks_of(self.plans))

    @property
    def reservoir(self) -> int:
        """Bytes of the reservoir once it is as full as it will get. A token has its document's number, a slot its own."""
        config = self.config
        tokens = min(config.buffer, config.steps * config.batch)
        return tokens * (self.sites * self.d_model * self.itemsize + 8) + 8 * config.buffer


def job_of(config: LoopConfig, subject: Subject, plans: Sequence[Plan]) -> Job:
    """The run that `config` asks for, on an opened subject."""
    parameters = sum(p.numel() for p in subject.model.parameters())
    vocabulary = subject.model.config.get_text_config().vocab_size
    return Job(config, tuple(plans), subject.d_model, vocabulary, parameters)


@dataclass(frozen=True)
class Passing:
    """Bytes that were seen to come and go, besides what `Memory` counts; nothing until they are measured."""

    start: int = 0
    """All that the making of first weights took."""
    training: int = 0
    """What forward passes and steps took."""


@dataclass(frozen=True)
class Memory:
    """Bytes a run takes beyond what its process has once the subject is open."""

    reservoir: int
    dictionaries: int
    """Weights, gradients and Adam's moments."""
    passing: int
    """What comes and goes in forward passes and steps."""
    start: int
    """The sample that first weights come from, and what is made of it; gone when training begins."""
    end: int
    """What calibration and evaluation need besides the dictionaries; the reservoir is gone by then."""

    @property
    def peak(self) -> int:
        """The most that is taken at once."""
        return max(self.start, self.reservoir + self.dictionaries + self.passing, self.dictionaries + self.end)


def memory(job: Job, passing: Passing = Passing()) -> Memory:
    """The memory of `job`."""
    start = SAMPLE * (3 * job.token + job.sites * job.d_model * job.itemsize) + job.weights + 2 * job.largest_stack
    return Memory(job.reservoir, 4 * job.weights, passing.training, passing.start or start, _end(job, passing))


def _end(job: Job, passing: Passing) -> int:
    """The subject grows to fp32, dictionaries are loaded again; then thresholds or logits, whichever takes more."""
    widest = max(plan.latents for plan in job.plans)
    logits = LOGITS * PASS * job.config.context * job.vocabulary * FP32
    grown = job.parameters * (FP32 - job.itemsize)
    most = max(DENSE * SAMPLE * widest * FP32, logits)
    return grown + job.weights + 3 * SAMPLE * job.token + most + int(KEPT * passing.training)


@dataclass(frozen=True)
class Disk:
    """Bytes a run writes into the workspace."""

    checkpoints: int
    """While it trains: those kept, and the one being written. They go when the run is done."""
    dictionaries: int
    curves: int

    @property
    def peak(self) -> int:
        """The most that is taken at once."""
        return self.checkpoints + self.dictionaries + self.curves


def disk(job: Job) -> Disk:
    """The disk space of `job`; the sample that began it waits in its checkpoints where the reservoir is smaller."""
    config = job.config
    waiting = min(SAMPLE, config.steps * config.batch) - config.buffer - config.checkpoint_every * config.batch
    state = 3 * job.weights + job.reservoir + max(0, waiting) * job.sites * job.d_model * job.itemsize
    return Disk((config.keep + 1) * state, job.weights, config.steps * len(job.plans) * CURVE_ROW)


def check_fits(workspace: Workspace, config: LoopConfig, subject: Subject, plans: Sequence[Plan]) -> None:
    """Raises `Mistake` when memory or disk surely do not suffice; the sentence says what would fit."""
    refuse(workspace, job_of(config, subject, plans), Passing(), free=free_memory(subject.device))


def refuse(workspace: Workspace, job: Job, passing: Passing, *, free: int | None) -> None:
    """Raises `Mistake` unless `job` fits into `free` bytes of memory (None: unknown) and the disk of `workspace`."""
    if free is not None and memory(job, passing).peak > free:
        raise Mistake(_too_large("memory", memory(job, passing).peak, free) + _advice(job, passing, free))
    room = free_disk(workspace.folder)
    if disk(job).peak > room:
        raise Mistake(
            _too_large("disk space for checkpoints and dictionaries", disk(job).peak, room)
            + _advice_on_disk(job, room) + f" Or free some, or use another --workspace than {str(workspace.folder)!r}."
        )  # fmt: skip


def _too_large(what: str, needed: int, free: int) -> str:
    return f"Training would need {size(needed)} of {what}, and {size(free)} are free."


def _advice(job: Job, passing: Passing, free: int) -> str:
    """The largest buffer that fits; where none does, the most latents that do with a buffer of one batch."""
    config = job.config

    def fits(other: Job) -> bool:
        return memory(other, passing).peak <= free

    if found := _largest(config.buffer, config.batch, lambda n: fits(_with(job, buffer=n))):
        return f" It fits with --buffer {found} or less."
    small = _with(job, buffer=config.batch)
    if found := _largest(max(p.latents for p in job.plans), 1, lambda n: fits(_narrow(small, n))):
        return f" No buffer is small enough; it fits with --latents {found} and --buffer {config.batch}."
    return " Not even one latent fits: choose fewer sites, a smaller model, or a larger machine."


def _advice_on_disk(job: Job, free: int) -> str:
    def fits(other: Job) -> bool:
        return disk(other).peak <= free

    if job.config.keep > 1 and fits(_with(job, keep=1)):
        return " It fits with --keep 1."
    if found := _largest(job.config.buffer, job.config.batch, lambda n: fits(_with(job, keep=1, buffer=n))):
        return f" It fits with --keep 1 and --buffer {found} or less."
    return " It does not fit with the smallest buffer either; train fewer or narrower dictionaries."


def _with(job: Job, **values: int) -> Job:
    return replace(job, config=replace(job.config, **values))


def _narrow(job: Job, latents: int) -> Job:
    return replace(job, plans=tuple(replace(plan, latents=min(plan.latents, latents)) for plan in job.plans))


def _largest(high: int, low: int, fits: Callable[[int], bool]) -> int | None:
    """The largest number from `low` to `high` that fits, to two digits; None when `low` does not. More never fit."""
    if not fits(low):
        return None
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def free_memory(device: torch.device | str = "cpu") -> int | None:
    """Bytes that can still be had on `device`: of a GPU, or of the machine within its control group; None: unknown."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [n for n in (_of_machine(), *(_of_group(*names) for names in GROUPS)) if n is not None]
    return min(found, default=None)


GROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""A control group's limit and use, in its second and its first version: what a container may take."""


def _of_machine() -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _of_group(limit: str, used: str) -> int | None:
    """What the group leaves; files that it has only cached count as free."""
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        stat = (root / limit).with_name("memory.stat").read_text().split()
        cached = stat[stat.index("inactive_file") + 1]
        return int((root / limit).read_text()) - int((root / used).read_text()) + int(cached)
    return None


def free_disk(folder: Path) -> int:
    """Bytes free where `folder` is, or will be made."""
    return shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free


def size(count: float) -> str:
    """Bytes as `3.1 GB`, `270 MB` or `12 kB`."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
