"""Circuits as other tools' files. One file each.

A part has `LOOKS_LIKE`, what such a file holds, in words; `recognises(document)`; `write(portable)`, which gives the
document (`SIZES` says whether it also takes the model's sizes); and `read(document)`, which gives a `Portable` or raises
`Mistake`. Documents are what JSON holds; nothing is unpickled.

What a format has no field for stands under the key `lacewing`, which the other tools pass over: rows as they are in the
store, and effects of every prompt. What another tool wrote and the store has no column for is kept in `leftover`, and
written again. The format's own fields decide: a node or edge that another tool took out is gone, and an edge whose weight
it changed has that weight.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

KEY = "lacewing"
"""Where a document holds what its format has no field for."""
VERSION = 1


@dataclass(frozen=True)
class Portable:
    """A circuit without the workspace: rows of `circuits`, `nodes`, `edges`, `evaluations`, without the circuit's id."""

    circuit: Row
    nodes: list[Row]
    edges: list[Row]
    evaluations: list[Row] = field(default_factory=list)
    examples: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    """Effects of every prompt: tables `examples`, `nodes`, `edges`, each as columns."""
    run: Row = field(default_factory=dict)
    """The run that made it: config, seed, version, packages."""
    leftover: Row = field(default_factory=dict)
    """By family of formats, what a file said that has no column."""


def extension(portable: Portable, names: dict[str, str]) -> Row:
    """What stands under `KEY`; `names` tells what each node is called in the format, if it has a name there."""
    return {
        "version": VERSION, "circuit": portable.circuit, "run": portable.run,
        "nodes": [row | {"id": names.get(row["node"])} for row in portable.nodes], "edges": portable.edges,
        "evaluations": portable.evaluations, "examples": portable.examples, "leftover": portable.leftover,
    }  # fmt: skip
