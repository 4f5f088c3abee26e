"""Weights & Biases: curves and the run's config, under the project `lacewing`.

Nothing else is sent but the platform and Python's version: no text, no activations, no code or git state, no console,
no packages, no machine figures. WANDB_MODE, WANDB_PROJECT and the package's other variables hold; with
WANDB_MODE=offline no key is needed, and the files are in metrics/RUN/wandb.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.sinks._figures import figures

PACKAGE = "wandb"
PROJECT = "lacewing"
PRIVATE = {
    "console": "off", "disable_git": True, "disable_code": True, "disable_job_creation": True,
    "x_disable_meta": True, "x_disable_machine_info": True, "x_disable_stats": True, "x_save_requirements": False,
}  # fmt: skip
"""Settings of wandb that keep what it would collect by itself from being collected."""


class WandB:
    """Logs to a run of wandb's. `step` is a figure like the others and the axis of all: a resumed run goes through some
    steps again, which wandb's own counter would refuse."""

    def __init__(self, logged: Any) -> None:
        self.logged = logged
        logged.define_metric("step")
        logged.define_metric("*", step_metric="step")

    def curve(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of the training curve."""
        self._log(figures(rows, "train"))

    def heldout(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of the held-out curve."""
        self._log(figures(rows, "heldout"))

    def close(self) -> None:
        """Sends what is left and ends the run."""
        self.logged.finish()

    def _log(self, found: Mapping[int, Mapping[str, float]]) -> None:
        for step, numbers in found.items():
            self.logged.log({"step": step, **numbers})


def open(run: str, folder: Path, config: Mapping[str, Any]) -> WandB:
    """A run of wandb's with the id `run`; it goes on when there is one already."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(**PRIVATE)
    return WandB(
        wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), id=run, name=run, resume="allow", dir=str(folder),
            config=dict(config), settings=settings,
        )
    )  # fmt: skip
