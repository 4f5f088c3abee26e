"""Where an engine listens, and who may ask it.

1. Engines are in a folder of the user's own (`XDG_RUNTIME_DIR`, or the folder for temporary files) that nobody else may
   enter: a folder of another owner, or one that others can open, is refused.
2. There an engine has a Unix socket, a lock that only one starter holds, a log, and a token of 256 random bits which
   every request must bear. Nothing listens on a network.
3. One engine for each workspace, model and version of lacewing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data import runs
from data.errors import Mistake
from data.words import digest

LONGEST = 100
"""Bytes that the path of a Unix socket may have on every system."""


@dataclass(frozen=True)
class Place:
    """The files of one engine."""

    folder: Path
    name: str

    @property
    def socket(self) -> Path:
        return self.folder / f"{self.name}.sock"

    @property
    def log(self) -> Path:
        """What the engine's process printed, its tracebacks too."""
        return self.folder / f"{self.name}.log"

    @property
    def _token(self) -> Path:
        return self.folder / f"{self.name}.token"

    def token(self) -> str:
        """What a request must bear; empty when no engine has been here."""
        with contextlib.suppress(OSError):
            return self._token.read_text()
        return ""

    def new_token(self) -> str:
        """Another token, which only this user can read."""
        token = secrets.token_hex(32)
        self._token.unlink(missing_ok=True)
        with os.fdopen(os.open(self._token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token)
        return token

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """While it lasts, no other process starts this engine."""
        with (self.folder / f"{self.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def clear(self) -> None:
        """Takes away what tells others where the engine is; to be called by who holds the lock."""
        for path in (self.socket, self._token):
            path.unlink(missing_ok=True)

    def leave(self, token: str) -> None:
        """The same for the engine that has `token`, unless another one is being started in its place."""
        with (self.folder / f"{self.name}.lock").open("w") as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.token() == token:
                self.clear()


def place(workspace: Path, model: str) -> Place:
    """The place of the engine for `model` (a digest, or empty) and the workspace in a folder. Raises `Mistake`."""
    name = digest("engine", str(workspace.resolve()), model, runs.version(), str(Path(__file__).parent))
    found = Place(_own_folder(), name)
    if len(os.fsencode(found.socket)) > LONGEST:
        raise Mistake(
            f"The folder for temporary files, {str(found.folder)!r}, has too long a name for a socket. "
            f"Set TMPDIR to a shorter one and start the dashboard again."
        )
    return found


def _own_folder() -> Path:
    """The folder of this user's engines, made when it is not there. Raises `Mistake` when it is not theirs alone."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = base / f"lacewing-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise Mistake(
            f"The folder {str(folder)!r}, through which pages reach the model, cannot be made: {error.strerror}. "
            f"Set TMPDIR to a folder of yours and start the dashboard again."
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Mistake(
            f"{str(folder)!r} can be entered by others than you, so the model is not served through it. Remove it, or set "
            f"TMPDIR to a folder of yours, and start the dashboard again."
        )
    return folder
