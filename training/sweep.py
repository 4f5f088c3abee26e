"""`lacewing sweep`: a grid of dictionaries from one stream, and at its end the front they make.

1. Every combination of the values given is trained at once (`training.train`).
2. The front is printed as a table, seeds pooled, and drawn (`training.front`).
"""

from __future__ import annotations

from data.store import Workspace
from training import front
from training.config import SweepConfig
from training.train import train


def sweep(workspace: Workspace, config: SweepConfig) -> list[str]:
    """Trains the grid (or finds the equal run that did) and returns the lines to print; raises `Mistake` as `train`."""
    made = train(workspace, config)
    return made if config.dry_run or not made else front.told(workspace, front.maker(workspace, made))
