"""What a person chose to remove in SHIFT, kept as the file that `lacewing shift --remove` takes.

1. A choice belongs to a *setting*: what a SHIFT run is told, all but what is removed. Runs of one setting show the same
   latents and are tested on the same texts, so that one choice serves them all.
2. `save` writes `choices/shift-SETTING.txt`, one latent a line, whole or not at all; `load` reads it back.
3. `saw` notes that the test's results of a setting were looked at; a choice that is changed afterwards says so in its first
   lines, for it is no longer blind.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import Mistake
from data.store import Workspace
from data.words import digest

FOLDER = "choices"
LATE = "# changed after the test's results were seen"


@dataclass(frozen=True)
class Choice:
    """The latents chosen, as `--remove` names them, and where they are written; `blind` unless results were seen before."""

    names: tuple[str, ...]
    path: Path
    blind: bool


def setting_of(config: Mapping[str, Any]) -> str:
    """The setting of a run of SHIFT, from its config."""
    return digest("shift", {name: value for name, value in config.items() if name != "remove"}, length=10)


def load(workspace: Workspace, setting: str) -> Choice | None:
    """The choice for a setting, or None; raises `Mistake` when its file cannot be read."""
    path = _path(workspace, setting)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(
            f"The choice in {path} cannot be read ({type(error).__name__}); mend or remove that file."
        ) from error
    names = tuple(name for line in lines if (name := line.split("#")[0].strip()))
    return Choice(names, path, LATE not in lines)


def save(workspace: Workspace, setting: str, names: Sequence[str]) -> Choice:
    """Keeps a choice, in place of the one before; the order is kept, each name once. Raises `Mistake`."""
    kept, old = tuple(dict.fromkeys(names)), load(workspace, setting)
    if old and old.names == kept:
        return old
    blind = not seen(workspace, setting) and (old is None or old.blind)
    day = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    head = [f"# Latents to remove, chosen by hand, {day}; for lacewing shift --remove", *([] if blind else [LATE])]
    path = _path(workspace, setting)
    _write(path, "\n".join([*head, *kept]) + "\n")
    return Choice(kept, path, blind)


def saw(workspace: Workspace, setting: str) -> None:
    """Notes that the results were looked at."""
    path = _path(workspace, setting).with_suffix(".seen")
    if not path.exists():
        _write(path, f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC\n")


def seen(workspace: Workspace, setting: str) -> bool:
    """Whether the results of a setting were looked at."""
    return _path(workspace, setting).with_suffix(".seen").exists()


def _path(workspace: Workspace, setting: str) -> Path:
    return workspace.folder / FOLDER / f"shift-{setting}.txt"


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        raise Mistake(f"Writing {path} failed: {error.strerror or error}. Nothing was left half-written.") from error
    finally:
        aside.unlink(missing_ok=True)
