"""A circuit as it lies in the workspace: its row, and the effects of its nodes and edges on each example.

Everything is read from `effects/CIRCUIT/part-*.parquet` (see `record`), so that statistics, comparisons and paths can be
made long after the run, without its model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from circuits.edges import Edges
from circuits.effects import Effects
from data import queries
from data.errors import Mistake
from data.store import Workspace
from data.words import Node, Site

PARTS = ("nodes", "edges", "examples")


@dataclass(frozen=True, eq=False)
class Stored:
    """A circuit and its per-example effects."""

    row: dict[str, Any]
    """Its row of the table `circuits`."""
    kept: tuple[Node, ...]
    """Its nodes, the most important first."""
    effects: Effects
    """Of every node that was considered, kept or not."""
    edges: Edges
    """Between places in `kept`; the place after the last is the metric."""
    prompts: tuple[tuple[str, str], ...]
    """The text and counterfactual text of each example."""
    total: Float[Tensor, " examples"]
    """The metric with all nodes minus that with none."""

    @property
    def circuit(self) -> str:
        return self.row["circuit"]

    @property
    def sites(self) -> tuple[Site, ...]:
        """The spliced sites, in order."""
        return tuple(sorted(Site.parse(site) for site in self.row["dictionaries"]))

    @property
    def joined(self) -> int:
        """How many of the first nodes were joined by edges."""
        return min(int(self.row["summary"].get("edge_nodes", len(self.kept))), len(self.kept))

    def kept_effects(self) -> Float[Tensor, "examples kept"]:
        """The effects of the kept nodes, dense."""
        number = {node: i for i, node in enumerate(self.effects.nodes)}
        columns = torch.tensor([number.get(node, -1) for node in self.kept], dtype=torch.long)
        dense = torch.zeros(self.effects.examples, len(self.kept))
        known = columns >= 0  # a node that is 0 in every example has no entry
        dense[:, known] = self.effects.matrix(columns[known])
        return dense


def load(workspace: Workspace, circuit: str) -> Stored:
    """The circuit of that id, or the only one whose id begins so.

    Raises `Mistake` when there is none, and when its per-example effects are not in the workspace.
    """
    row = queries.circuit(workspace, circuit)
    names = [r["node"] for r in queries.nodes(workspace, row["circuit"]) if r["rank"]]
    tables = {part: _table(workspace.folder / "effects" / row["circuit"], part, circuit) for part in PARTS}
    examples = tables["examples"].sort_by("example")
    metric, none = (torch.from_numpy(examples[c].to_numpy().copy()).float() for c in ("metric", "counter_metric"))
    prompts = tuple(zip(examples["text"].to_pylist(), examples["counter_text"].to_pylist(), strict=True))
    return Stored(
        row,
        tuple(map(Node.parse, names)),
        _effects(tables["nodes"], len(examples)),
        _edges(tables["edges"], names, len(examples)),
        prompts,
        metric - none,
    )


def _table(folder: Path, part: str, circuit: str) -> pa.Table:
    try:
        return pq.read_table(folder / f"part-{part}.parquet")
    except (OSError, pa.ArrowInvalid) as error:
        raise Mistake(
            f"Circuit {circuit} has no effects of each example in this workspace (part-{part}.parquet is missing or "
            f"damaged in {str(folder)!r}), as one that was imported. Trace it here with `lacewing circuit`."
        ) from error


def _effects(table: pa.Table, examples: int) -> Effects:
    node, names = _encoded(table["node"])
    effect = _tensor(table, "effect").float()
    return Effects(_tensor(table, "example").long(), node, effect, tuple(map(Node.parse, names)), examples)


def _edges(table: pa.Table, names: Sequence[str], examples: int) -> Edges:
    """The edges whose ends are kept; the metric is the one end that is none of `names`."""
    place = {name: i for i, name in enumerate(names)}
    ends = []
    for column in ("source", "target"):
        number, known = _encoded(table[column])
        ends.append(torch.tensor([place.get(n, len(names)) for n in known] or [0], dtype=torch.long)[number])
    edge = ends[0] * (len(names) + 1) + ends[1]
    which, column = edge.unique(return_inverse=True)
    dense = torch.zeros(examples, len(which))
    dense[_tensor(table, "example").long(), column] = _tensor(table, "effect").float()
    return Edges(which // (len(names) + 1), which % (len(names) + 1), dense)


def _encoded(column: pa.ChunkedArray) -> tuple[Tensor, list[str]]:
    """A column of text as numbers and the texts they count."""
    whole = column.combine_chunks()
    array = whole if isinstance(whole, pa.DictionaryArray) else whole.dictionary_encode()
    return torch.from_numpy(array.indices.to_numpy().astype(np.int64)), array.dictionary.to_pylist()


def _tensor(table: pa.Table, column: str) -> Tensor:
    return torch.from_numpy(table[column].to_numpy().copy())
