"""Checkpoints that a run can go on from, bit for bit: safetensors and JSON, nothing pickled.

1. `save` writes weights, Adam's moments, silence counters, the reservoir with its generator, and the cursors into a
   folder aside, renames it, and removes all but the newest `KEPT`.
2. `load` reads the newest one back into the same objects. Whatever was written after it is forgotten.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.errors import Mistake
from training.learner import Learner
from training.reservoir import Reservoir, Rows
from training.stream import Scales, Stream

KEPT = 2


@dataclass
class State:
    """Everything that changes while training. `step` counts steps done."""

    learners: Sequence[Learner]
    reservoir: Reservoir
    stream: Stream
    scales: Scales
    step: int = 0
    pending: Rows | None = None
    """Rows read from the stream for which the reservoir had no room."""


def save(folder: Path, state: State) -> Path:
    """Writes a checkpoint under `folder`, whole or not at all; raises `Mistake` when the disk is full."""
    target = folder / f"step-{state.step:08d}"
    aside = folder / f".{target.name}.{os.getpid()}"
    try:
        aside.mkdir(parents=True, exist_ok=True)
        save_file(_tensors(state), aside / "state.safetensors")
        (aside / "state.json").write_text(json.dumps(_numbers(state)))
        shutil.rmtree(target, ignore_errors=True)
        os.rename(aside, target)
    except (OSError, SafetensorError) as error:
        raise Mistake(
            f"The checkpoint {str(target)!r} could not be written: {error}. Earlier ones are kept."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints under `folder`, oldest first."""
    return sorted(folder.glob("step-*"))


def newest(folder: Path) -> Path | None:
    """The newest checkpoint under `folder`, if any."""
    return found[-1] if (found := checkpoints(folder)) else None


def scales_of(checkpoint: Path) -> Scales:
    """The scales that were measured when the run began."""
    tensors = _read(checkpoint)
    return Scales(*(tensors[f"scales/{name}"] for name in ("mean", "scale", "limit")))


def load(checkpoint: Path, state: State) -> None:
    """Sets `state` (made anew from the same config) to what `checkpoint` holds."""
    tensors = _read(checkpoint)
    numbers = json.loads((checkpoint / "state.json").read_text())
    for index, learner in enumerate(state.learners):
        _load_learner(
            learner, {k.removeprefix(f"{index}/"): v for k, v in tensors.items() if k.startswith(f"{index}/")}
        )
    state.step = numbers["step"]
    state.stream.go_to(numbers["stream"])
    state.stream.limit = state.scales.limit
    state.pending = None
    if "pending/values" in tensors:
        state.pending = Rows(tensors["pending/values"], tensors["pending/document"])
    state.reservoir.load({k.removeprefix("reservoir/"): v for k, v in tensors.items() if k.startswith("reservoir/")})


def _read(checkpoint: Path) -> dict[str, Tensor]:
    try:
        return load_file(checkpoint / "state.safetensors")
    except (OSError, SafetensorError) as error:
        raise Mistake(
            f"The checkpoint {str(checkpoint)!r} cannot be read ({error}). Remove that folder to go on from the one "
            f"before it, if there is one."
        ) from error


def _numbers(state: State) -> dict[str, Any]:
    return {"step": state.step, "stream": state.stream.state()}


def _tensors(state: State) -> dict[str, Tensor]:
    found = {
        "scales/mean": state.scales.mean, "scales/scale": state.scales.scale, "scales/limit": state.scales.limit,
    }  # fmt: skip
    found |= {f"reservoir/{name}": tensor for name, tensor in state.reservoir.state().items()}
    if state.pending is not None and len(state.pending):
        found |= {"pending/values": state.pending.values.contiguous(), "pending/document": state.pending.document}
    for index, learner in enumerate(state.learners):
        found |= {f"{index}/{name}": tensor for name, tensor in _of_learner(learner).items()}
    return found


def _of_learner(learner: Learner) -> dict[str, Tensor]:
    found = {f"sae/{name}": tensor for name, tensor in learner.sae.state_dict().items()}
    for index, moments in learner.optimizer.state_dict()["state"].items():
        found |= {f"adam/{index}/{name}": tensor for name, tensor in moments.items()}
    return {name: t.detach().contiguous() for name, t in (found | {"silent": learner.silent}).items()}


def _load_learner(learner: Learner, tensors: dict[str, Tensor]) -> None:
    learner.sae.load_state_dict({n.removeprefix("sae/"): t for n, t in tensors.items() if n.startswith("sae/")})
    learner.silent = tensors["silent"]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam/"):
            _, index, moment = name.split("/")
            moments.setdefault(int(index), {})[moment] = tensor
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": moments, "param_groups": groups})


__all__ = ["KEPT", "State", "checkpoints", "load", "newest", "save", "scales_of"]
