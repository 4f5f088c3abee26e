"""Parts: one file each, named by its file.

1. `names` lists the files of a folder without importing any of them.
2. `load` imports the one that is asked for; an unknown name is answered with the nearest known one.
3. `choices` reads what a user writes: names, each with its settings, such as `llm:examples=20,token_lift`. A part's
   settings are the fields of its dataclass `Options`, if it has one.

Architectures, tasks, methods, explainers, scorers and pages are all found this way: to add one, add a file.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

from data.config import from_text
from data.errors import Mistake, unknown


@dataclass(frozen=True)
class NoOptions:
    """The settings of a part that has none."""


@dataclass(frozen=True)
class Choice:
    """A part as a user wrote it: its name, and its `Options`."""

    name: str
    options: Any

    @property
    def label(self) -> str:
        """The name with the settings that are not at their defaults, as it would be written."""
        unusual = [f for f in fields(self.options) if getattr(self.options, f.name) != f.default]
        return ":".join([self.name, *(f"{f.name}={_written(getattr(self.options, f.name))}" for f in unusual)])


def names(package: str) -> list[str]:
    """The names of the parts in `package` (dotted, such as `circuits.methods`), sorted; imports none of them."""
    folder = importlib.import_module(package)
    return sorted(m.name for m in pkgutil.iter_modules(folder.__path__) if not m.name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """The module of the part `name`; raises `Mistake` when `package` has no such file."""
    seen = name.isidentifier() and not name.startswith("_") and f"{package}.{name}" in sys.modules
    # Listing a folder takes a millisecond, and pages ask for dozens of parts at every turn.
    if not seen and name not in names(package):
        raise unknown(_kind(package), name, names(package))
    return importlib.import_module(f"{package}.{name}")


def in_order(package: str) -> dict[str, ModuleType]:
    """The parts of `package` by name, in the order of their `ORDER`."""
    found = {name: load(package, name) for name in names(package)}
    return dict(sorted(found.items(), key=lambda item: item[1].ORDER))


def choices(package: str, text: str) -> list[Choice]:
    """`topk,jumprelu:mode=tanh` as parts of `package` with their options; raises `Mistake` on what is not known."""
    if not text.strip():
        raise Mistake(f"No {_kind(package)} is named; known: {', '.join(names(package))}.")
    return [_choice(package, piece.strip()) for piece in text.split(",")]


def _choice(package: str, piece: str) -> Choice:
    name, *settings = piece.split(":")
    options = getattr(load(package, name), "Options", NoOptions)
    if bad := [s for s in settings if "=" not in s]:
        raise Mistake(f"{bad[0]!r} in {piece!r} is no setting; write {name}:NAME=VALUE.")
    values = dict(setting.split("=", 1) for setting in settings)
    return Choice(name, from_text(options, values, where=f"{_kind(package)} {name}"))


def _kind(package: str) -> str:
    return package.rsplit(".", 1)[-1].removesuffix("s")


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
