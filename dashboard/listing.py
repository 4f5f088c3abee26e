"""Lists as files: CSV with the columns kind and id, or JSON with name, features and circuits."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from data import queries
from data.errors import Mistake
from data.judgement import MOST
from data.store import Workspace
from data.words import Feature

circuits = queries.circuits
KINDS = ("feature", "circuit")
LARGEST = 8_000_000
"""Bytes of a file that is read."""


@dataclass(frozen=True)
class Read:
    """What a file holds: a name, and members as `feature DICTIONARY/LATENT` and `circuit ID`."""

    name: str
    items: tuple[str, ...]


def as_csv(items: Sequence[str]) -> str:
    """A header line and a row for each member."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("kind", "id"))
    writer.writerows(item.split(" ", 1) for item in items)
    return out.getvalue()


def as_json(name: str, items: Sequence[str]) -> str:
    """An object with name, features and circuits."""
    of = {kind: [item.split(" ", 1)[1] for item in items if item.startswith(f"{kind} ")] for kind in KINDS}
    whole = {"lacewing": "list", "name": name, "features": of["feature"], "circuits": of["circuit"]}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def file_name(name: str) -> str:
    """`name` as the beginning of a file's name."""
    return re.sub(r"[^\w-]+", "-", name, flags=re.ASCII).strip("-")[:60] or "list"


def read(file: str, content: bytes) -> Read:
    """The list in a file. Raises `Mistake` when it is neither form, or too large."""
    if len(content) > LARGEST:
        raise Mistake(f"{file!r} has {len(content):,} bytes; a list has at most {LARGEST:,}.")
    try:
        text = content.decode("utf-8-sig")
        name, pairs = _from_json(text) if file.lower().endswith(".json") else ("", _from_csv(text))
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error, RecursionError) as error:
        raise Mistake(f"{file!r} is no list: {error}. {FORMS}") from error
    items = tuple(dict.fromkeys(_item(kind, identity, file) for kind, identity in pairs))
    if not items or len(items) > MOST:
        raise Mistake(
            f"{file!r} holds {len(items):,} features and circuits; a list is read with 1 to {MOST:,}. {FORMS}"
        )
    return Read(name or PurePath(file).stem, items)


FORMS = (
    "Write a CSV with the columns kind (feature, circuit) and id, or dictionary and latent; or a JSON object with "
    '"features" and "circuits".'
)


def _from_json(text: str) -> tuple[str, list[tuple[str, str]]]:
    whole: dict[str, Any] = json.loads(text)
    pairs = [("feature", str(f)) for f in whole.get("features", [])]
    return str(whole.get("name", ""))[:80], pairs + [("circuit", str(c)) for c in whole.get("circuits", [])]


def _from_csv(text: str) -> list[tuple[str, str]]:
    lines = list(csv.DictReader(io.StringIO(text)))
    names = set(lines[0]) if lines else set()
    if {"kind", "id"} <= names:
        return [(str(line["kind"]), str(line["id"])) for line in lines]
    if {"dictionary", "latent"} <= names:
        return [("feature", f"{line['dictionary']}/{line['latent']}") for line in lines]
    raise ValueError(f"its columns are {', '.join(map(str, sorted(map(str, names)))) or 'missing'}")


def _item(kind: str, identity: str, file: str) -> str:
    if kind not in KINDS:
        raise Mistake(f"{kind!r} in {file!r} is neither feature nor circuit. {FORMS}")
    return f"feature {Feature.parse(identity)}" if kind == "feature" else f"circuit {identity}"


def known(workspace: Workspace, items: Sequence[str]) -> tuple[list[str], int]:
    """Those of `items` that are in the workspace, and how many are not."""
    sql = """with wanted as (select unnest($1) as item)
        select item from wanted where (starts_with(item, 'circuit ')
            and substr(item, 9) in (select circuit from circuits)) or (starts_with(item, 'feature ')
            and split_part(substr(item, 9), '/', 1) in (select dictionary from dictionaries
                where try_cast(split_part(substr(item, 9), '/', 2) as bigint) < latents))"""
    found = {row["item"] for row in queries.rows(workspace, sql, [list(items)])}
    kept = [item for item in items if item in found]
    return kept, len(items) - len(kept)
