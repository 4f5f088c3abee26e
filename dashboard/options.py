"""What a form asks: the options of a verb, read from its config dataclass, and back to the words of a command.

1. `asked` gives one `Option` a field: its help is the field's docstring; the folder of parts that the docstring names
   (`a file of circuits/methods`) gives its choices, and ids of this workspace are chosen by what they are.
2. `values_of` reads words into texts without judging them; `words_of` writes texts that differ from the defaults as words.
3. `fault` says what is wrong with one text, as the command line would.

No streamlit here.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from dashboard import commands
from data import parts
from data.config import docs, options_of
from data.errors import Mistake

FIRST = {
    "demo": ("model", "sites", "task", "tokens", "latents", "k"),
    "train": ("model", "sites", "architecture", "latents", "k", "tokens"),
    "sweep": ("model", "sites", "architecture", "latents", "k", "seeds"),
    "harvest": ("model", "dictionaries", "text", "tokens"),
    "circuit": ("task", "model", "sites", "method", "metric", "nodes"),
    "explain": ("features", "explainer", "limit", "windows", "judge"),
    "score": ("explanations", "scorers", "windows", "sampler", "judge"),
}
"""What is asked first of these verbs; of others their places and first fields."""
FEW = 4
IDS = {
    "dictionary": "dictionary", "dictionaries": "dictionary", "one": "dictionary", "other": "dictionary",
    "circuit": "circuit", "left": "circuit", "right": "circuit", "explanations": "explain",
}  # fmt: skip
RUNS = {"resume": "training", "front": "sweep"}
"""What a field called `run` means to these verbs."""
NEVER = ("dry_run",)
"""Asked by a button of its own."""
_PARTS = re.compile(r"\b(?:data|training|circuits|autointerp)/[a-z_]+(?:/[a-z_]+)*")
_MANY = re.compile(r"\b[Ff]iles of|comma", re.MULTILINE)


@dataclass(frozen=True)
class Option:
    """One field of a verb's config."""

    name: str
    kind: type
    default: str | None
    """As text, `true` or `false` for a switch; empty where none is given; None where one must be given."""
    help: str
    place: bool
    """Whether it is told by its place and not by its name."""
    known: tuple[str, ...] = ()
    """Names of parts to choose from."""
    ids: str = ""
    """What in the workspace it names (a key of `of_jobs.nameable`)."""
    many: bool = False
    """Whether several may be given, separated by commas."""
    first: bool = False
    """Whether it is asked at once."""

    @property
    def label(self) -> str:
        return self.name.replace("_", " ")


def asked(verb: str) -> list[Option]:
    """The options of a verb, those asked first in front."""
    config = commands.config_of(verb)
    help_of = docs(config)
    found = [
        _option(verb, field, kind, help_of.get(field.name, ""))
        for field, kind in options_of(config).items()
        if field.name not in NEVER
    ]
    wanted = FIRST.get(verb) or _first(found)
    marked = [dataclasses.replace(option, first=option.name in wanted) for option in found]
    return sorted(marked, key=lambda o: wanted.index(o.name) if o.first else len(wanted))


def has_forecast(verb: str) -> bool:
    """Whether the verb can say what it would take."""
    return any(field.name == "dry_run" for field in options_of(commands.config_of(verb)))


def values_of(verb: str, words: Sequence[str]) -> dict[str, str]:
    """What the words say, by name, as texts that nobody has judged. Raises `Mistake` on words that are no options."""
    parser = _Loose(allow_abbrev=False, add_help=False, argument_default=argparse.SUPPRESS)
    for option in asked(verb):
        if option.place:
            parser.add_argument(option.name, nargs="?")
        elif option.kind is bool:
            parser.add_argument(_flag(option.name), action=argparse.BooleanOptionalAction)
        else:
            parser.add_argument(_flag(option.name))
    given = vars(parser.parse_args(list(words)))
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}


def words_of(options: Sequence[Option], values: Mapping[str, str]) -> list[str]:
    """The fewest words that say `values`; an empty text is as good as none."""
    named: list[str] = []
    for option in options:
        value = values.get(option.name, "")
        if option.place or value in ("", option.default):
            continue
        if option.kind is bool:
            named.append(_flag(option.name) if value == "true" else _flag(f"no_{option.name}"))
        else:
            named += [f"{_flag(option.name)}={value}"] if value.startswith("-") else [_flag(option.name), value]
    return _placed(options, values, named)


def _placed(options: Sequence[Option], values: Mapping[str, str], named: list[str]) -> list[str]:
    places = [option for option in options if option.place]
    told = [values.get(option.name) or option.default or "" for option in places]
    while told and told[-1] == (places[len(told) - 1].default or ""):
        told.pop()
    return [*named, "--", *told] if any(text.startswith("-") for text in told) else [*told, *named]


def fault(option: Option, value: str) -> str:
    """What is wrong with `value`, as a sentence; empty when nothing is."""
    if not value:
        return f"{option.label} must be given." if option.default is None else ""
    if option.kind is bool:
        return ""
    try:
        option.kind(value)
    except ValueError:
        return f"{option.label} = {value!r} should be {NUMBERS[option.kind]}."
    return ""


NUMBERS = {int: "a whole number", float: "a number", str: "a text"}


class _Loose(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message[0].upper()}{message[1:]}.")


def _option(verb: str, field: dataclasses.Field[Any], kind: type, text: str) -> Option:
    named = _PARTS.search(text)
    known = _known(named.group()) if named else ()
    ids = RUNS.get(verb, "") if field.name == "run" else IDS.get(field.name, "")
    many = bool(_MANY.search(text)) and (bool(known) or field.name == "dictionaries")
    return Option(
        field.name, kind, _default(field), " ".join(text.split()), bool(field.metadata.get("positional")),
        known, ids, many,
    )  # fmt: skip


def _known(place: str) -> tuple[str, ...]:
    """The parts of a folder that a docstring names; none when it is no folder of parts."""
    try:
        return tuple(parts.names(place.replace("/", ".")))
    except (ImportError, AttributeError):
        return ()


def _default(field: dataclasses.Field[Any]) -> str | None:
    value = commands.default_of(field)
    if value is dataclasses.MISSING:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _first(found: Sequence[Option]) -> tuple[str, ...]:
    needed = [option.name for option in found if option.place or option.default is None]
    rest = [option.name for option in found if option.name not in needed]
    return tuple(needed + rest[: max(0, FEW - len(needed))])


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
