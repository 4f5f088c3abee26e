"""TensorBoard: curves as event files in metrics/RUN/tensorboard, written by torch's own writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.sinks._figures import figures

PACKAGE = "tensorboard"


class TensorBoard:
    """Writes to `folder` from the first row on; steps written there before (by a run that is resumed) are replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: Any = None

    def curve(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of the training curve."""
        self._write(figures(rows, "train"))

    def heldout(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of the held-out curve."""
        self._write(figures(rows, "heldout"))

    def close(self) -> None:
        """Ends the event file."""
        if self.writer:
            self.writer.close()

    def _write(self, found: Mapping[int, Mapping[str, float]]) -> None:
        for step, numbers in found.items():
            self.writer = self.writer or _writer(self.folder, step)
            for tag, value in numbers.items():
                self.writer.add_scalar(tag, value, step)
        if self.writer:
            self.writer.flush()


def _writer(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step)


def open(run: str, folder: Path, config: Mapping[str, Any]) -> TensorBoard:
    """A writer into `folder`/tensorboard; the config is in the workspace."""
    del run, config
    return TensorBoard(folder / "tensorboard")
