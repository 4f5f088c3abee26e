"""What a side of a benchmark is told and what it tells; standard library alone, so that peers can import it too.

1. `task()` reads the JSON on the command line.
2. `Clock` notes tokens trained against time, and the peak of resident memory from its start on.
3. `tell` prints one JSON line, the last on stdout; all else goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Task:
    """A training run to be made and timed."""

    model: str
    layer: int
    """The residual stream after this block."""
    text: str | None
    """The text, as `lacewing train --text` takes it; our side reads it."""
    blocks: str
    """The same text's train split as a .npy file of token blocks [blocks, context]: the prefix first, padded at their
    end; peers read it."""
    special: list[int]
    """Ids of prefix and padding: no dictionary is trained on them."""
    context: int
    width: int
    latents: int
    k: list[int]
    """One dictionary each."""
    tokens: int
    batch: int
    buffer: int
    rate: float
    out: str
    device: str = "cpu"
    together: bool = True
    """Whether several dictionaries train on one stream, or one run after another."""
    architecture: str = "batchtopk"
    """Of our side; sae-lens trains batchtopk, sparsify topk."""
    part: str = "loop"
    """Of our side: `loop` is up to the last step, `whole` all that `lacewing train` does, `forecast` its dry run."""


def task() -> Task:
    return Task(**json.loads(sys.argv[1]))


class Clock:
    """Notes `marks` of (tokens trained, seconds); starts when made."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew: imports do not count
        self.before = resident("VmRSS")
        self.began = time.perf_counter()
        self.tokens = 0
        self.marks: list[tuple[int, float]] = []

    def trained(self, tokens: int) -> None:
        """`tokens` more have been trained on."""
        self.tokens += tokens
        self.marks.append((self.tokens, time.perf_counter() - self.began))

    def told(self) -> dict[str, Any]:
        return {
            "tokens": self.tokens,
            "seconds": time.perf_counter() - self.began,
            "marks": self.marks,
            "before": self.before,
            "peak": resident("VmHWM"),
        }


def resident(name: str) -> int:
    """Bytes of resident memory: `VmRSS` now, `VmHWM` at most. Without /proc, at most since the process began."""
    status = Path("/proc/self/status")
    found = re.search(rf"{name}:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return 1024 * int(found[1]) if found else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextlib.contextmanager
def hushed() -> Any:
    """What libraries print goes to stderr."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)


def tell(runs: list[dict[str, Any]]) -> None:
    print(json.dumps(runs), flush=True)
