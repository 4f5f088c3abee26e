"""The end of what a job printed, safe to show: a log holds whatever a model, a data set or a library wrote.

1. Only the last `MOST` bytes are read, decoded with replacement.
2. Escape sequences go; of a line that was drawn over itself the last drawing stays; control and bidi marks become �.
3. A line is cut at `WIDTH` characters.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MOST = 65_536
WIDTH = 500
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def tail(path: Path, lines: int = 40) -> list[str]:
    """The last lines of a log that are not empty space at its end; none when there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    found = [plain(line) for line in text.split("\n")]
    while found and not found[-1].strip():
        found.pop()
    if size > MOST and len(found) > 1:
        found = found[1:]  # the first may have lost its beginning
    return found[-lines:]


def plain(line: str) -> str:
    """One line of a log as a terminal would have left it, without anything that is not text."""
    shown = _UNSEEN.sub("�", _ESCAPE.sub("", line.rstrip("\r")).rpartition("\r")[2])
    return shown if len(shown) <= WIDTH else shown[: WIDTH - 1] + "…"
