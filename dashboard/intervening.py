"""Interventions as commands and as words (no streamlit here, and no torch: a page offers what a job does).

1. `ways` reads what can be done to nodes from the files of `circuits/interventions`, without importing them.
2. `Wish` is what a person asks for on a circuit's page; `words` are those of the `lacewing intervene` that does it.
3. `reproduce` gives the words that make a row of the table `interventions` again, from the config of its run.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuits.intervene_config import InterveneConfig
from dashboard import commands
from data.errors import Mistake

Row = Mapping[str, Any]
VERDICTS = {
    "verified": ("✓", "the prediction lies within the measured interval"),
    "contradicted": ("✗", "the prediction lies outside the measured interval"),
    "untested": ("?", "one prompt has no interval, so nothing is tested"),
}


@dataclass(frozen=True)
class Way:
    """Something that can be done to nodes: its name, what it is in a sentence, what its number means (None: it takes none),
    and the only reference that it goes with."""

    name: str
    said: str
    amount: str | None
    reference: str | None


@functools.cache
def ways() -> tuple[Way, ...]:
    """All ways to intervene, ablation first."""
    files = [path for path in listed("circuits", "interventions") if not path.stem.startswith("_")]
    return tuple(sorted(map(_way, files), key=lambda way: (way.name != "ablate", way.name)))


def references() -> list[str]:
    """What ablated nodes can be set to."""
    return sorted(path.stem for path in listed("circuits", "references") if not path.stem.startswith("_"))


def listed(room: str, folder: str) -> list[Path]:
    """The files of a folder of parts, found without importing its room's torch."""
    found = importlib.util.find_spec(room)
    places = list(found.submodule_search_locations or []) if found else []
    return sorted(path for place in places for path in (Path(place) / folder).glob("*.py"))


def _way(path: Path) -> Way:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    said = (ast.get_docstring(tree) or "").partition("\n")[0]
    return Way(path.stem, said, constants.get("AMOUNT"), constants.get("REFERENCE"))


@dataclass(frozen=True)
class Wish:
    """An intervention on nodes of a circuit, as a person asked for it; what is empty or 0 is left to the circuit's run."""

    circuit: str
    nodes: tuple[str, ...] = ()
    first: int = 0
    """The most important nodes by rank, instead of `nodes`."""
    do: str = "ablate"
    amount: float | None = None
    reference: str = ""
    attention: str = "free"
    heldout: int = 0
    generate: int = 0
    control: str = ""
    everywhere: bool = False
    """Whether nodes are changed at all positions instead of their own."""


def words(wish: Wish) -> list[str]:
    """What follows `lacewing intervene`; raises `Mistake` when the wish makes no sense."""
    config = InterveneConfig(
        circuit=wish.circuit,
        nodes=",".join(_places(wish)),
        first=wish.first or InterveneConfig.first,
        do=wish.do,
        amount=wish.amount,
        reference=wish.reference,
        attention=wish.attention,
        pairs=2 * wish.heldout or InterveneConfig.pairs,
        generate=wish.generate,
        control=wish.control,
    )
    if not config.nodes and not wish.first:
        raise Mistake("No node is chosen. Click one in the graph, pin some, or take the most important ones.")
    return commands.words(config)


def _places(wish: Wish) -> Sequence[str]:
    if not wish.everywhere:
        return wish.nodes
    return list(dict.fromkeys(node.rpartition("@")[0] for node in wish.nodes))


def reproduce(row: Row) -> list[str] | None:
    """The words of `lacewing intervene` that make this row again; None when the record of its run is gone.

    Nodes that came from a file are named, for the file may have changed since.
    """
    recorded = row.get("config")
    if not recorded:
        return None
    known = {field.name for field in dataclasses.fields(InterveneConfig)}
    config = InterveneConfig(**{name: value for name, value in recorded.items() if name in known})
    if config.nodes and config.nodes.replace(" ", "").split(",") != list(row["nodes"]):
        config = dataclasses.replace(config, nodes=",".join(row["nodes"]))
    return commands.words(config)


def said(row: Row) -> str:
    """What was done, in a line: `ablate to counterfactual, 3 nodes, attention free`."""
    amount = "" if row["amount"] is None else f" {row['amount']:g}"
    to = f" to {row['reference']}" if row["does"] in ("ablate", "swap") else ""
    many = "1 node" if row["size"] == 1 else f"{row['size']:,} nodes"
    return f"{row['does']}{amount}{to}, {many}, attention {row['attention']}"


def prompts(row: Row) -> str:
    """On what: `32 held-out prompts of agreement`, or a prompt of one's own."""
    return f"{row['examples']:,} held-out prompts of {row['task']}" if row["task"] else "a prompt of one's own"
