"""What stands behind a job: `python -m dashboard.supervisor FOLDER COMMAND...`.

1. Starts the command as its own child and writes the numbers and births of both to FOLDER/job.json.
2. Waits, and writes when and with which status it ended. So the end is known whoever started the job has ended before.

A signal to the group of both is the command's to obey; the supervisor only waits. It imports nothing heavy.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dashboard.processes import birth

RECORD = "job.json"


def amend(folder: Path, **fields: Any) -> None:
    """Writes `fields` into the record of the job in `folder`, whole or not at all."""
    path = folder / RECORD
    record = json.loads(path.read_text()) if path.exists() else {}
    aside = folder / f".{RECORD}.{os.getpid()}.tmp"
    aside.write_text(json.dumps(record | fields, ensure_ascii=False))
    os.replace(aside, path)


def main(folder: Path, command: list[str]) -> None:
    """Runs `command` to its end and keeps the record."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # a handler, for a signal that is ignored stays so in the child
    amend(folder, keeper=os.getpid(), keeper_born=birth(os.getpid()))
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"The job could not be started: {error}.\n")
        amend(folder, ended=time.time(), status=127)
        return
    amend(folder, pid=child.pid, born=birth(child.pid))
    status = child.wait()
    amend(folder, ended=time.time(), status=status)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
