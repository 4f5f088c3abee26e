"""What is seen of a run while it trains: held-out measurements, and copies of the curves for other tools.

1. `look` makes of each dictionary what it would be if training ended now, thresholds set on text of their own, and
   measures all of them on the same held-out tokens, with the subject in the run's own precision.
2. The held-out set is read once, at the first look; the losses of the clean and the ablated model are kept.
3. Sinks (training/sinks) get the same rows as the workspace.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jaxtyping import Float
from torch import Tensor

from data.runs import Run
from training.checkpoint import State
from training.config import LoopConfig
from training.copies import Copies
from training.dictionary import Dictionary
from training.evaluate import during, write
from training.heldout import HeldOut, Size, hold_out
from training.progress import Show
from training.stack import Stack
from training.stream import calibration_blocks, heldout_blocks, ordinary, read

SIZE = Size(described=4096, spliced=1024)
"""Held-out tokens of a look: half of the final evaluation's, as there are many looks."""
CALIBRATED = 2048
"""Tokens that thresholds are set on at a look: 32 x 2,048 activations fix them to about 1 %."""


class Watch:
    """The looks at one run."""

    def __init__(self, run: Run, config: LoopConfig, state: State) -> None:
        self.run, self.config, self.state = run, config, state
        self._held: tuple[HeldOut, Float[Tensor, "tokens site d_model"]] | None = None
        self.copies = Copies(
            config.sinks if state.stacks[0].group.first else "", run=run.run, folder=run.folder, config=asdict(config)
        )

    def look(self, show: Show) -> None:
        """Measures every dictionary on the held-out tokens and keeps what was found."""
        heldout, calibration = self._held = self._held or self._hold(show)
        now = [self._now(stack, member, calibration) for stack, member in self.state.members]
        own = {"tokens": self.state.step * self.config.batch, "time": time.time()}
        found = zip(self.state.plans, during(heldout, now), strict=True)
        rows = [row | own | {"dictionary": plan.name} for plan, row in found]
        write(self.run, rows, step=self.state.step)
        self.copies.heldout([row | {"step": self.state.step} for row in rows])

    def curve(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Hands the rows of the training curve on to the sinks."""
        self.copies.curve(rows)

    def close(self) -> None:
        """Ends the sinks; the run's summary says which of them failed."""
        self.copies.close()
        if self.copies.failed:
            self.run.summary["sinks"] = self.copies.failed

    def _hold(self, show: Show) -> tuple[HeldOut, Tensor]:
        stream, scales = self.state.stream, self.state.scales
        blocks = heldout_blocks(stream.subject, self.config.text, context=self.config.context)
        heldout = hold_out(
            stream.subject, blocks, stream.sites, mean=scales.mean, limit=scales.limit, seed=0, size=SIZE, progress=show
        )
        rows = read(stream.subject, calibration_blocks(stream, CALIBRATED), stream.sites)
        return heldout, rows[ordinary(rows, scales.limit)].float()

    def _now(self, stack: Stack, member: int, rows: Float[Tensor, "tokens site d_model"]) -> Dictionary:
        sae = inference_of(stack, member, rows)
        plan = stack.plans[member]
        return Dictionary(
            "", plan.name, "", plan.reads[0], plan.latents, sae.cfg.d_in, sae, reads=plan.reads, writes=plan.writes
        )


def inference_of(stack: Stack, member: int, rows: Float[Tensor, "tokens site d_model"]) -> Any:
    """sae-lens' object for one member as it is now, thresholds set on raw activations `rows`, in fp32."""
    seat = stack.seats[member]
    x, y = (rows[:, list(sites)].flatten(1).float() for sites in (seat.reads, seat.writes))
    return stack.part.inference(stack.raw(member), stack.plans[member], x, y)
