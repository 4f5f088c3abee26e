"""Checkpoints that a run can go on from, bit for bit: safetensors and JSON, nothing pickled.

1. `save` writes weights, Adam's moments, silence counters, sparsity weights, the reservoir with its generator, and
   where the stream stands into a folder aside, renames it, and removes all but the newest few.
2. `read` gives the newest one back; `restore` sets a state made from the same config to what it holds.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.errors import Mistake
from training.ahead import Ahead
from training.plans import Plan
from training.reservoir import Reservoir, Rows
from training.stack import Stack
from training.stream import Scales, Stream


@dataclass
class State:
    """Everything that changes while training. `step` counts steps done."""

    plans: Sequence[Plan]
    stacks: Sequence[Stack]
    reservoir: Reservoir
    ahead: Ahead
    scales: Scales
    step: int = 0
    pending: Rows | None = None
    """Rows read from the stream for which the reservoir had no room."""

    @property
    def stream(self) -> Stream:
        """Where the rows come from; to be left alone while it is read ahead."""
        return self.ahead.stream

    @property
    def members(self) -> list[tuple[Stack, int]]:
        """Each plan's stack, and its place in it, in the order of the plans."""
        where = {plan: (stack, place) for stack in self.stacks for place, plan in enumerate(stack.plans)}
        return [where[plan] for plan in self.plans]


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds."""

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, Any]

    @property
    def scales(self) -> Scales:
        """The scales that were measured when the run began."""
        return Scales(*(self.tensors[f"scales/{name}"] for name in ("mean", "scale", "limit")))

    def under(self, name: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `name/`, without that."""
        return {k.removeprefix(f"{name}/"): v for k, v in self.tensors.items() if k.startswith(f"{name}/")}


def save(folder: Path, state: State, *, keep: int) -> Path:
    """Writes a checkpoint under `folder`, whole or not at all; raises `Mistake` when the disk is full."""
    target = folder / f"step-{state.step:08d}"
    aside = folder / f".{target.name}.{os.getpid()}"
    try:
        aside.mkdir(parents=True, exist_ok=True)
        save_file(_tensors(state), aside / "state.safetensors")
        (aside / "state.json").write_text(json.dumps({"step": state.step, "stream": state.ahead.state()}))
        shutil.rmtree(target, ignore_errors=True)
        os.rename(aside, target)
    except (OSError, SafetensorError) as error:
        raise Mistake(
            f"The checkpoint {str(target)!r} could not be written: {error}. Earlier ones are kept."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints under `folder`, oldest first."""
    return sorted(folder.glob("step-*"))


def read(folder: Path) -> Saved | None:
    """The newest checkpoint under `folder`, if any; raises `Mistake` when it cannot be read."""
    if not (found := checkpoints(folder)):
        return None
    try:
        return Saved(load_file(found[-1] / "state.safetensors"), json.loads((found[-1] / "state.json").read_text()))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise Mistake(
            f"The checkpoint {str(found[-1])!r} cannot be read ({error}). Remove that folder to go on from the one "
            f"before it, if there is one."
        ) from error


def restore(state: State, saved: Saved) -> None:
    """Sets `state` (made anew from the same config) to what was saved."""
    for index, stack in enumerate(state.stacks):
        stack.load(saved.under(f"stack{index}"))
    state.step = saved.numbers["step"]
    state.ahead.go_to(saved.numbers["stream"])
    pending = saved.under("pending")
    state.pending = Rows(**pending) if pending else None
    state.reservoir.load(saved.under("reservoir"))


def _tensors(state: State) -> dict[str, Tensor]:
    scales = state.scales
    found = {"scales/mean": scales.mean, "scales/scale": scales.scale, "scales/limit": scales.limit}
    found |= {f"reservoir/{name}": tensor for name, tensor in state.reservoir.state().items()}
    if state.pending is not None and len(state.pending):
        found |= {"pending/values": state.pending.values, "pending/document": state.pending.document}
    for index, stack in enumerate(state.stacks):
        found |= {f"stack{index}/{name}": tensor for name, tensor in stack.state().items()}
    return {name: tensor.detach().contiguous() for name, tensor in found.items()}


__all__ = ["Saved", "State", "checkpoints", "read", "restore", "save"]
