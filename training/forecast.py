"""A forecast: wall time, memory and disk of a training run by part, and of the choices that it could make otherwise.

1. `seconds` adds up what was measured (`training.preflight`) over the steps, passes and checkpoints of a run.
2. `choices` changes one thing at a time. The part of a step that grows with k was measured; the rest grows with
   latents. Memory and disk are those of `training.needs`.
3. `Forecast.lines` tells it to a person.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from training.needs import SAMPLE, Job, Passing, disk, memory, size
from training.plans import Plan

SPLICED = 2_048
"""Tokens that each dictionary and each of its `BASELINES` are spliced into at the end (`training.heldout`)."""
BASELINES = 2


@dataclass(frozen=True)
class Measured:
    """Seconds, measured on this machine."""

    opening: float
    """The subject, from disk."""
    starting: float
    """First weights, scales included."""
    reading: float
    """A token's activations at all sites."""
    reading_other: float
    """The same with the subject in the other precision."""
    predicting: float
    """A token's logits, from the whole model."""
    step: float
    """A step of all dictionaries."""
    step_wider: float
    """The same with twice the k."""
    writing: float
    """A byte on the disk of the workspace."""


@dataclass(frozen=True)
class Choice:
    """What the run would take if something were chosen otherwise."""

    name: str
    memory: int
    disk: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What a run would take."""

    job: Job
    measured: Measured
    passing: Passing
    resident: int
    """Bytes that the process has with the subject open, before anything else."""
    free: tuple[int | None, int]
    """Bytes of memory and of disk that are free."""
    choices: Sequence[Choice] = field(default=())

    @property
    def peak(self) -> int:
        """The most memory the process will have, in bytes."""
        return self.resident + memory(self.job, self.passing).peak

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by part."""
        return seconds(self.job, self.measured)

    def lines(self) -> list[str]:
        """The forecast, for a person."""
        return [*_times(self), *_spaces(self), *_choices(self)]


def seconds(job: Job, measured: Measured) -> dict[str, float]:
    """Wall time of each part of `job`. Passes made ahead overlap the steps: only the longer of the two counts."""
    config = job.config
    read, steps = config.steps * config.batch * measured.reading, config.steps * measured.step
    if config.ahead:
        read, steps = (read, max(0.0, steps - read)) if read > steps else (max(0.0, read - steps), steps)
    saves = -(-config.steps // config.checkpoint_every)
    looks = config.steps // config.evaluate_every if config.evaluate_every else 0
    return {
        "opening the model": measured.opening,
        "first weights": measured.starting,
        "forward passes": read,
        "dictionary steps": steps,
        "checkpoints": saves * (3 * job.weights + job.reservoir) * measured.writing,
        "held-out looks": looks * _judging(job, measured) / 4,
        "calibration and evaluation (estimated)": _ending(job, measured),
    }


def _ending(job: Job, measured: Measured) -> float:
    """The subject opened again in fp32, calibration and held-out text read, every dictionary judged."""
    again = measured.opening if job.config.precision != "fp32" else 0.0
    return again + SAMPLE * _in_fp32(job, measured) + _judging(job, measured)


def _judging(job: Job, measured: Measured) -> float:
    """Held-out text, ablations, and each dictionary with its baselines encoded and spliced."""
    spliced = (1 + 2 * job.sites + (1 + BASELINES) * len(job.plans)) * SPLICED * measured.predicting
    encoded = (1 + BASELINES) * SAMPLE * measured.step / job.config.batch
    return SAMPLE * _in_fp32(job, measured) + spliced + encoded


def _in_fp32(job: Job, measured: Measured) -> float:
    return measured.reading if job.config.precision == "fp32" else measured.reading_other


def choices(job: Job, measured: Measured, passing: Passing, resident: int) -> list[Choice]:
    """What single changes would cost. The part of a step that grows with k was measured; the rest grows with latents."""
    by_k = max(0.0, measured.step_wider - measured.step)
    dense = max(0.0, measured.step - by_k)
    wide = _each(job, lambda plan: replace(plan, latents=2 * plan.latents))
    found = [
        ("as it is", job, measured, passing),
        (
            "k doubled",
            _each(job, lambda plan: replace(plan, k=2 * plan.k)),
            _step(measured, measured.step_wider),
            passing,
        ),
        ("latents doubled", wide, _step(measured, 2 * dense + by_k), Passing(2 * passing.start, 2 * passing.training)),
        ("buffer doubled", _config(job, buffer=2 * job.config.buffer), measured, passing),
        ("tokens doubled", _config(job, tokens=2 * job.config.tokens), measured, passing),
        _in_other_precision(job, measured, passing),
        *_one_site_fewer(job, measured, passing),
    ]
    return [
        Choice(name, resident + memory(j, p).peak, disk(j).peak, sum(seconds(j, m).values())) for name, j, m, p in found
    ]


Variant = tuple[str, Job, Measured, Passing]


def _in_other_precision(job: Job, measured: Measured, passing: Passing) -> Variant:
    other = "fp32" if job.config.precision == "bf16" else "bf16"
    swapped = replace(measured, reading=measured.reading_other, reading_other=measured.reading)
    return f"precision {other}", _config(job, precision=other), swapped, passing


def _one_site_fewer(job: Job, measured: Measured, passing: Passing) -> list[Variant]:
    """Without the deepest site, where dictionaries are at several: the forward pass ends sooner."""
    sites = sorted({site for plan in job.plans for site in plan.reads + plan.writes})
    left = tuple(plan for plan in job.plans if sites[-1] not in plan.reads + plan.writes)
    if not left:
        return []
    other = replace(job, plans=left)
    deepest = max(site.layer for plan in left for site in plan.reads + plan.writes)
    share = (deepest + 1) / (sites[-1].layer + 1)
    cheaper = _step(measured, measured.step * other.weights / job.weights)
    cheaper = replace(cheaper, reading=measured.reading * share, reading_other=measured.reading_other * share)
    return [(f"without {sites[-1]}", other, cheaper, passing)]


def _each(job: Job, change: Callable[[Plan], Plan]) -> Job:
    return replace(job, plans=tuple(change(plan) for plan in job.plans))


def _config(job: Job, **values: Any) -> Job:
    return replace(job, config=replace(job.config, **values))


def _step(measured: Measured, step: float) -> Measured:
    return replace(measured, step=step)


def _times(forecast: Forecast) -> list[str]:
    found, config = forecast.seconds, forecast.job.config
    total, training = sum(found.values()), found["forward passes"] + found["dictionary steps"]
    lines = [f"Time: {took(total)}, {config.steps * config.batch / training:,.0f} tokens/s while training"]
    return lines + [f"  {name:<40} {took(value):>12}  {value / total:>4.0%}" for name, value in found.items() if value]


def _spaces(forecast: Forecast) -> list[str]:
    job, passing = forecast.job, forecast.passing
    needed, room = memory(job, passing), disk(job)
    free = "an unknown amount" if forecast.free[0] is None else size(forecast.free[0])
    parts = {
        "the process with the subject": forecast.resident, "reservoir": needed.reservoir,
        "dictionaries, gradients, Adam": needed.dictionaries, "passes and steps": needed.passing,
        "at the start instead of these three": needed.start, "at the end instead of reservoir and passes": needed.end,
    }  # fmt: skip
    lines = [f"Memory: {size(forecast.peak)} at its peak; {free} more is free"]
    lines += [f"  {name:<44} {size(value):>8}" for name, value in parts.items()]
    lines += [f"Disk: {size(room.peak)} at its peak; {size(forecast.free[1])} is free"]
    parts = {
        "checkpoints, until it is done": room.checkpoints,
        "dictionaries": room.dictionaries,
        "curves": room.curves,
    }
    return lines + [f"  {name:<44} {size(value):>8}" for name, value in parts.items()]


def _choices(forecast: Forecast) -> list[str]:
    lines = [f"If you changed one thing:{'memory':>25}{'disk':>11}{'time':>15}"]
    return lines + [
        f"  {one.name:<38} {size(one.memory):>9} {size(one.disk):>10} {took(one.seconds):>14}"
        for one in forecast.choices
    ]


def took(seconds: float) -> str:
    """Seconds as `0.4 s`, `42 s`, `3 min 20 s` or `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
