"""Commands as words: what a person would type, and the config that it means.

1. `parse` reads the words of a verb as the command line does; what is wrong is the same `Mistake`.
2. `words` writes a config back as the fewest words that mean it: only what differs from the defaults.
3. `shown` is the whole command as typed in a shell; `understood` reads such a command again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from data.config import add_arguments, from_arguments
from data.errors import Mistake, unknown
from data.verbs import VERBS, Verb

NEVER = {
    "dashboard": "You are looking at it.",
    "sql": "Ask on the SQL page: there a question has limits, and cannot keep a run from writing.",
}
"""Verbs that are no job, and why."""


@dataclass(frozen=True)
class Asked:
    """A verb and the words after it."""

    verb: str
    words: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message[0].upper()}{message[1:]}. `{self.prog} --help` lists the options.")


def verb_of(name: str) -> Verb:
    """The verb `name`; raises `Mistake` when there is none, or it is no job."""
    if name not in VERBS:
        raise unknown("verb", name, VERBS)
    if name in NEVER:
        raise Mistake(f"`lacewing {name}` cannot be started here. {NEVER[name]}")
    return VERBS[name]


def config_of(name: str) -> type:
    """The dataclass of the verb's options."""
    module, kind = verb_of(name).config.split(":")
    return getattr(importlib.import_module(module), kind)


def parse(name: str, words: Sequence[str]) -> Any:
    """The config that `lacewing NAME WORDS` would run with; raises `Mistake`."""
    given = _parser(name).parse_args(list(words))
    return from_arguments(config_of(name), given, getattr(given, "file", None))


@functools.cache
def _parser(name: str) -> _Parser:
    """One of a verb: it costs some 20 ms, and a page has many commands."""
    parser = _Parser(prog=f"lacewing {name}", allow_abbrev=False, add_help=False)
    add_arguments(parser, config_of(name))
    if VERBS[name].file:
        parser.add_argument("file", nargs="?")
    return parser


def words(config: Any) -> list[str]:
    """The fewest words that give `config` on the command line."""
    options, places = [], []
    for field in dataclasses.fields(config):
        if not field.init:
            continue
        value = getattr(config, field.name)
        if field.metadata.get("positional"):
            places.append((value, default_of(field)))
        elif value != default_of(field):
            options += _option(field.name, value)
    while places and places[-1][0] == places[-1][1]:
        places.pop()
    named = [str(value) for value, _ in places]
    before = ["--"] if any(text.startswith("-") for text in named) else []
    return [*options, *before, *named] if before else [*named, *options]


def shown(name: str, words: Sequence[str], folder: str | Path) -> str:
    """The command as typed in a shell."""
    at = ["--workspace", str(folder)]
    parts = [*at, *words] if "--" in words else [*words, *at]
    return shlex.join(["lacewing", name, *parts])


def understood(command: str, folder: str | Path) -> Asked | None:
    """The verb and words of a shown command that works on the workspace in `folder`; None when it is another."""
    try:
        program, name, *rest = shlex.split(command)
    except ValueError:
        return None
    at = rest.index("--workspace") if "--workspace" in rest[:-1] else -1
    if program != "lacewing" or name not in VERBS or name in NEVER or at < 0:
        return None
    if Path(rest[at + 1]).expanduser().resolve() != Path(folder).expanduser().resolve():
        return None
    return Asked(name, (*rest[:at], *rest[at + 2 :]))


def default_of(field: dataclasses.Field[Any]) -> Any:
    """What the field is when nothing is given; `dataclasses.MISSING` where something must be."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _option(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    text = str(value)
    return [f"--{flag}={text}"] if text.startswith("-") else [f"--{flag}", text]
