"""Processes, told apart from others that get the same number later.

1. A process is its number and its birth: when the kernel started it, in its own words (`/proc`, else `ps`).
2. `lives` is false once it has ended, also while nobody has asked for its exit status, and when the number has passed to
   another.

Nothing here imports anything of ours: the supervisor of a job starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

PROC = Path("/proc")


def birth(pid: int) -> str | None:
    """When process `pid` was started, as a text that another process of that number will not have; None if it is gone."""
    if (PROC / "self" / "stat").exists():
        fields = _stat(pid)
        return None if fields is None or fields[0] in "ZX" else f"{fields[19]}@{_boot()}"
    said = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = said.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def lives(pid: int | None, born: str | None) -> bool:
    """Whether the process that was born so is still there."""
    return pid is not None and born is not None and birth(pid) == born


def began(pid: int) -> float | None:
    """The second of the epoch at which process `pid` was started; None when it is gone or the system does not tell."""
    fields, boot = _stat(pid), _uptime()
    if fields is None or boot is None:
        return None
    return time.time() - boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return None


def _boot() -> str:
    with contextlib.suppress(OSError):
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
    return ""


def _uptime() -> float | None:
    with contextlib.suppress(OSError):
        return float((PROC / "uptime").read_text().split()[0])
    return None
