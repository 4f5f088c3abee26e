"""Reading another tool's document: every field that is used is looked at, and complaints are sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from circuits.formats import KEY, VERSION, Row
from data.errors import Mistake
from data.words import Node

_WORDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


_EFFECT = {"effect": float, "lower": float, "upper": float}
COLUMNS: dict[str, dict[str, type]] = {
    "circuit": {
        "task": str, "method": str, "metric": str, "ablation": str, "model": str, "dictionaries": dict, "pairs": int,
        "prompt": dict, "selfcheck": dict, "calibration": dict, "summary": dict,
    },
    "nodes": {"node": str, "layer": int, "kind": str, "position": int, "role": str, "rank": int, **_EFFECT},
    "edges": {"source": str, "target": str, **_EFFECT},
    "evaluations": {
        "kind": str, "mask": str, "ablation": str, "size": int, "value": float, "lower": float, "upper": float,
        "control": float,
    },
}  # fmt: skip
"""What rows in our part must have."""


def need(record: Any, name: str, kind: type, where: str) -> Any:
    """The field `name` of `record`; raises `Mistake` when it is missing or of another kind."""
    if not isinstance(record, dict) or name not in record:
        raise Mistake(f"{where} lacks {name!r}, {_WORDS[kind]}.")
    value = record[name]
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise Mistake(f"{name!r} of {where} should be {_WORDS[kind]}, not {value!r:.60}.")
    if isinstance(value, int) and abs(value) >= 2**53:
        raise Mistake(f"{name!r} of {where} is {value}, which is too large.")
    return value


def records(document: Row, name: str) -> list[Row]:
    """The list of objects `name`."""
    found = need(document, name, list, "The file")
    for number, record in enumerate(found):
        if not isinstance(record, dict):
            raise Mistake(f"Entry {number} of {name!r} should be an object, not {record!r:.60}.")
    return found


def extension_of(document: Row) -> Row:
    """What this tool wrote into the document, or nothing. Raises `Mistake` when it is of a later version."""
    found = document.get(KEY)
    if found is None:
        return {}
    if not isinstance(found, dict) or need(found, "version", int, f"The part {KEY!r}") > VERSION:
        raise Mistake(
            f"The part {KEY!r} of the file was written by a newer version of this tool; update it, or take that part out."
        )
    for name, columns in COLUMNS.items():
        for row in [found.get("circuit")] if name == "circuit" else need(found, name, list, f"The part {KEY!r}"):
            for column, kind in columns.items():
                need(row, column, kind, f"A row of {name!r} in the part {KEY!r}")
    for row in found["nodes"]:
        Node.parse(row["node"])
    return found


def once(names: Iterable[str], what: str) -> None:
    """Raises `Mistake` when a name comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Mistake(f"The {what} {name!r} is in the file twice; its links cannot be told apart.")
        seen.add(name)


def bare(row: Row) -> Row:
    """A row of the extension without the name that the format has for it."""
    return {name: value for name, value in row.items() if name != "id"}
