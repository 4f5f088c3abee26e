"""Work for pools in tests: workers import it by name."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

from data.errors import Mistake


def squares(folder: str, fault: str = "", at: int = 5) -> Callable[[int], int]:
    """Opens work that squares numbers; at the number `at` it dies each time, dies once, or raises a `Mistake`."""
    (Path(folder) / f"opened-{os.getpid()}").touch()
    return functools.partial(_square, Path(folder), fault, at)


def _square(folder: Path, fault: str, at: int, number: int) -> int:
    with (folder / f"tried-{number}").open("a") as file:
        file.write("x")
    if number == at and fault == "raises":
        raise Mistake(f"There is no square of {number}.")
    if number == at and (fault == "dies" or (fault == "dies once" and not (folder / "died").exists())):
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number
