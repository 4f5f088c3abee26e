"""One question in a process of its own: `python -m data.sql_process`, asked on stdin and answered on stdout, as JSON.

1. The process bounds its own address space, since DuckDB's limit does not count what a function makes of one value.
2. A question that does not heed its interrupt is ended with the process a little later; so is one whose asker has gone.
3. `Question` is the asker's side: it can be polled, and cancelled at any moment. Nothing of the asker's process is touched:
   DuckDB shares one instance, and its settings, among all connections of a process to the same file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.errors import Fault, Mistake
from data.sql import GRACE, TOO_LARGE, TOO_LONG, Bounded, Limits, ask_within
from data.store import Workspace

ROOT = Path(__file__).parent.parent
SPACE = 3_000_000_000
"""Bytes of address space, of which the libraries take a good part."""
PATIENCE = 5.0
"""Seconds to wait for a writer."""
START = 20.0
"""Seconds in which the process has begun, on a busy machine."""
ENDED = 3
"""Exit status of a process that had to end itself."""


@dataclass
class Question:
    """A question under way; `seconds` is how long it took or has taken."""

    query: str
    limits: Limits
    process: subprocess.Popen[str]
    began: float
    answer: Bounded | None = None
    problem: str = ""
    cancelled: bool = False
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """From asking to the answer, or to now."""
        return (self.ended or time.monotonic()) - self.began

    @property
    def done(self) -> bool:
        """Whether there is an answer, or the reason why there is none."""
        return self.ended is not None

    def wait(self, seconds: float) -> bool:
        """Waits a little; whether it is done."""
        end = time.monotonic() + seconds
        while not self.done and time.monotonic() < end:
            time.sleep(0.02)
        return self.done

    def cancel(self) -> None:
        """Ends it now."""
        if not self.done:
            self.cancelled = True
            self.process.kill()


def start(workspace: Workspace, query: str, limits: Limits) -> Question:
    """Asks; returns at once."""
    places = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", "data.sql_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, encoding="utf-8", env=os.environ | {"PYTHONPATH": places},
    )  # fmt: skip
    question = Question(query, limits, process, time.monotonic())
    asked = json.dumps({"folder": str(workspace.folder.resolve()), "query": query, "limits": asdict(limits)})
    threading.Thread(target=_hear, args=(question, asked), daemon=True).start()
    return question


def _hear(question: Question, asked: str) -> None:
    """Waits for the answer, and ends a process that outstays its time."""
    process, limits = question.process, question.limits
    try:
        said, _ = process.communicate(asked, timeout=limits.seconds + GRACE + PATIENCE + START)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    _understand(question, said)
    question.ended = time.monotonic()


def _understand(question: Question, said: str) -> None:
    if question.cancelled:
        question.problem = "The query was cancelled."
        return
    try:
        found = json.loads(said)
    except ValueError:
        late = question.process.returncode == ENDED
        question.problem = (
            TOO_LONG.format(question.limits.seconds) if late else TOO_LARGE.format(question.limits.memory)
        )
        return
    if "problem" in found:
        question.problem = found["problem"]
    else:
        question.answer = Bounded(tuple(found["columns"]), [tuple(row) for row in found["rows"]], found["more"])


def ask(workspace: Workspace, query: str, limits: Limits) -> Bounded:
    """The answer, waited for. Raises `Mistake`."""
    question = start(workspace, query, limits)
    if not question.wait(limits.seconds + GRACE + PATIENCE + START + 5):
        question.cancel()
        raise Fault("The process that answers SQL did not start.")
    if question.answer is None:
        raise Mistake(question.problem)
    return question.answer


def main() -> None:
    """Answers the question on stdin."""
    asked: dict[str, Any] = json.load(sys.stdin)
    limits = Limits(**asked["limits"])
    _bound()
    try:
        found = ask_within(
            Workspace(Path(asked["folder"]), patience=PATIENCE), asked["query"], limits, lambda: os._exit(ENDED)
        )
        answer = {"columns": found.columns, "rows": found.rows, "more": found.more}
    except Mistake as mistake:
        answer = {"problem": str(mistake)}
    except MemoryError:
        answer = {"problem": TOO_LARGE.format(limits.memory)}
    sys.stdout.write(json.dumps(answer, ensure_ascii=False))
    sys.stdout.flush()
    os._exit(0)  # a thread of DuckDB that still computes would keep the process


def _bound() -> None:
    """Bounds the address space, where the system can."""
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (SPACE if hard < 0 else min(SPACE, hard), hard))
    except (ImportError, ValueError, OSError):
        pass


if __name__ == "__main__":
    main()
