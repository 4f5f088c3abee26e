"""Configs: one frozen dataclass per verb, whose field docstrings are its help.

1. `add_arguments` gives argparse one option per field (`--tokens`; `metadata={"positional": True}` makes it positional).
2. `from_arguments` builds the dataclass from a TOML file, if one was given, overridden by the options typed.
3. `build` builds it from any mapping. Unknown keys and wrong types are errors that name the valid ones.

A contradiction between fields is rejected in the dataclass' own `__post_init__`, with a sentence.
"""

from __future__ import annotations

import argparse
import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docstring_parser import parse_from_object

from data.errors import Mistake, unknown

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The subject model of every verb, unless another is named."""


@dataclasses.dataclass(frozen=True)
class WorkersConfig:
    """Where work is done that can be spread; what it gives does not depend on that."""

    workers: str = ""
    """Who does the work: empty is this process, ray:2 are two processes of this machine (ray: one for each core),
    ray:HOST:PORT a cluster that this machine is part of."""


def docs(config: type) -> dict[str, str]:
    """The docstring under each field of `config`."""
    found = {p.arg_name: p.description or "" for p in parse_from_object(config).params}
    for base in reversed(config.__mro__[1:]):
        if dataclasses.is_dataclass(base):
            found = docs(base) | found
    return found


def add_arguments(parser: argparse.ArgumentParser, config: type) -> None:
    """One argument of `parser` for each field of `config`, its own before those it inherits; absent ones are left out of
    the namespace."""
    help_of = docs(config)
    for field, kind in sorted(options_of(config).items(), key=lambda item: _depth(config, item[0].name)):
        text = (help_of.get(field.name, "") + _default_text(field)).replace("%", "%%")
        if field.metadata.get("positional"):
            times = "?" if _has_default(field) else None
            parser.add_argument(field.name, type=kind, help=text, default=argparse.SUPPRESS, nargs=times)
        elif kind is bool:
            flag = argparse.BooleanOptionalAction
            parser.add_argument(_flag(field), action=flag, help=text, default=argparse.SUPPRESS)
        else:
            name = field.name.upper()
            parser.add_argument(_flag(field), type=kind, help=text, default=argparse.SUPPRESS, metavar=name)


def _depth(config: type, name: str) -> int:
    """How far up the field was last declared; 0 is the class itself."""
    return next(depth for depth, base in enumerate(config.__mro__) if name in vars(base).get("__annotations__", {}))


def from_arguments(config: type, arguments: argparse.Namespace, file: str | None = None) -> Any:
    """A `config` from a TOML file (if any) and the arguments that were typed, which win."""
    typed = {f.name: getattr(arguments, f.name) for f in options_of(config) if hasattr(arguments, f.name)}
    return build(config, (read_toml(file) if file else {}) | typed, where=file or "the command line")


def read_toml(path: str | Path) -> dict[str, Any]:
    """The keys of a TOML file; dashes may stand for underscores. Raises `Mistake` when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return {key.replace("-", "_"): value for key, value in tomllib.load(file).items()}
    except OSError as error:
        raise Mistake(f"The config file {str(path)!r} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"The config file {str(path)!r} is not TOML: {error}.") from error


def build(config: type, values: Mapping[str, Any], where: str = "the config") -> Any:
    """A `config` from `values`; raises `Mistake` on an unknown key, a missing field or a wrong type."""
    fields = {field.name: (field, kind) for field, kind in options_of(config).items()}
    for key, value in values.items():
        if key not in fields:
            raise unknown(f"option in {where}:", key, fields)
        _check(key, value, fields[key][1], where)
    missing = [n for n, (f, _) in fields.items() if n not in values and not _has_default(f)]
    if missing:
        raise Mistake(f"{where.capitalize()} lacks {', '.join(missing)}; it has no default.")
    return config(**{k: float(v) if fields[k][1] is float else v for k, v in values.items() if v is not None})


def from_text(config: type, values: Mapping[str, str], where: str) -> Any:
    """A `config` from values written as text (`auxiliary=0.1`); raises `Mistake` as `build` does."""
    kinds = {field.name: kind for field, kind in options_of(config).items()}
    return build(config, {key: _value(key, text, kinds.get(key, str), where) for key, text in values.items()}, where)


def _value(key: str, text: str, kind: type, where: str) -> Any:
    if kind is bool:
        if text not in ("true", "false"):
            raise Mistake(f"{key} = {text!r} in {where} should be true or false.")
        return text == "true"
    try:
        return kind(text)
    except ValueError as error:
        raise Mistake(f"{key} = {text!r} in {where} should be {kind.__name__}.") from error


def _check(key: str, value: Any, kind: type, where: str) -> None:
    right = isinstance(value, (int, float) if kind is float else kind) and not (kind is not bool and value is True)
    if value is not None and not right:
        raise Mistake(f"{key} = {value!r} in {where} is {type(value).__name__}; it should be {kind.__name__}.")


def options_of(config: type) -> dict[dataclasses.Field[Any], type]:
    """The fields of `config` that can be given, each with the type that a given value has (not None)."""
    hints = typing.get_type_hints(config)
    return {field: _plain(hints[field.name]) for field in dataclasses.fields(config) if field.init}


def _plain(hint: Any) -> type:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(a for a in typing.get_args(hint) if a is not types.NoneType)
    return hint


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _default_text(field: dataclasses.Field[Any]) -> str:
    return f" (default: {field.default})" if field.default not in (dataclasses.MISSING, None, "") else ""


def _flag(field: dataclasses.Field[Any]) -> str:
    return f"--{field.name.replace('_', '-')}"
