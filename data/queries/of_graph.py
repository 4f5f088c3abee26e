"""A whole circuit at once: every node with what is known of its feature, every edge as columns.

1. `state` names the state of one circuit's rows and of what is said of its features: an answer of `graph` holds while it
   stays the same, whatever else is written to the workspace.
2. `graph` reads nodes as rows by rank and edges as a table by size: 80,000 rows as dicts would cost more than the query.
3. `Edges` gives a row only when it is asked for one; `ends` are its nodes by number.

Statistics of features are not read here: in a large file they take most of it, and the query took 750 MB with them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import numpy as np
import pyarrow as pa

from data import best
from data.queries.base import Row, rows
from data.store import Workspace
from data.words import Site


class Edges(Sequence[Row]):
    """Edges, the strongest first: a sequence of rows that are made when asked for, over a table of columns."""

    def __init__(self, table: pa.Table, numbers: Mapping[str, int]) -> None:
        self.table = table
        self.source, self.target = (self._numbered(end, numbers) for end in ("source", "target"))
        self.effect = table["effect"].to_numpy()

    def _numbered(self, end: str, numbers: Mapping[str, int]) -> np.ndarray:
        """The number of each edge's node, −1 where it is not among the circuit's nodes."""
        names = self.table[end].combine_chunks().dictionary_encode()
        known = np.array([numbers.get(name, -1) for name in names.dictionary.to_pylist()], dtype=np.int32)
        return known[names.indices.to_numpy()] if len(names) else np.zeros(0, dtype=np.int32)

    def __len__(self) -> int:
        return self.table.num_rows

    def __iter__(self) -> Iterator[Row]:
        for batch in self.table.to_batches(max_chunksize=4096):
            yield from batch.to_pylist()

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self.take(np.array([range(len(self))[index]]))[0]

    def take(self, which: np.ndarray) -> list[Row]:
        """The edges of these numbers, as rows."""
        return self.table.take(pa.array(which, pa.int64())).to_pylist()


@dataclass(frozen=True)
class Graph:
    """A circuit's nodes by rank and edges by size; shared between sessions, so nobody may change it."""

    circuit: str
    state: str
    nodes: Sequence[Row]
    edges: Edges
    numbers: Mapping[str, int] = field(repr=False)
    """The place of each node in `nodes`, by its id."""
    kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    """What was worked out of it: pictures, which go when it goes."""

    def column(self, name: str) -> np.ndarray:
        """One column of the nodes as an array; what is missing is not a number."""
        return np.array([np.nan if n[name] is None else n[name] for n in self.nodes], dtype=float)

    def touching(self, node: str, end: str) -> np.ndarray:
        """The numbers of the edges whose `end` (source or target) is `node`, the strongest first."""
        return np.flatnonzero(getattr(self.edges, end) == self.numbers[node])

    @cached_property
    def most(self) -> int:
        """How many nodes there are besides the metric's own."""
        return sum(1 for n in self.nodes if n["kind"] != "logit")

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds of its nodes."""
        return sorted({n["kind"] for n in self.nodes})

    @cached_property
    def sites(self) -> list[str]:
        """The sites of its nodes, from the first to the deepest."""
        return [str(site) for site in sorted({Site.parse(n["site"]) for n in self.nodes if n["site"]})]

    @cached_property
    def metric(self) -> np.ndarray:
        """By node: whether it is the metric's own."""
        return np.array([n["kind"] == "logit" for n in self.nodes], dtype=bool)

    @cached_property
    def errors(self) -> np.ndarray:
        """By node: whether it is what a dictionary misses."""
        return np.array([n["kind"] == "error" for n in self.nodes], dtype=bool)

    @cached_property
    def sizes(self) -> np.ndarray:
        """By node: |effect|, 0 for the metric's own."""
        return np.where(self.metric, 0.0, np.abs(self.column("effect")))

    @cached_property
    def inputs(self) -> np.ndarray:
        """By node: the sum of the sizes of the edges into it."""
        known = self.edges.target >= 0
        return np.bincount(self.edges.target[known], np.abs(self.edges.effect[known]), len(self.nodes))


SUMS = "count(*), " + ", ".join(
    f"count({column}), sum({column})"
    for column in ("effect", "verified", "inclusion", "mean_absolute", "sign_agreement")
)


MINE = """with mine as (
    select distinct dictionary, latent from nodes where circuit = $1 and latent is not null and dictionary is not null)"""
SAID = f"{MINE}, said as (select explanation from explanations semi join mine using (dictionary, latent))"
STATE = (
    f"select {SUMS}, sum(second_order), count(unreliable) from nodes where circuit = $1",
    f"select {SUMS} from edges where circuit = $1",
    f"{SAID} select count(*) from said",
    f"{SAID} select count(*) from scores semi join said using (explanation)",
    f"{MINE} select count(*), max(written) from labels semi join mine using (dictionary, latent)",
    "select count(*) from features",
)


def state(workspace: Workspace, circuit: str) -> str:
    """A name for the state of a circuit's nodes and edges and of everything said of their features."""
    with workspace.read() as db:
        found = [db.execute(part, [circuit] if "$1" in part else []).fetchall()[0] for part in STATE]
    return "|".join(str(value) for row in found for value in row)


def graph(workspace: Workspace, circuit: str, at: str) -> Graph:
    """All of a circuit, in the state `at`."""
    nodes = rows(workspace, NODES, [circuit])
    numbers = {n["node"]: number for number, n in enumerate(nodes)}
    with workspace.read() as db:
        sql = "select * exclude (circuit) from edges where circuit = ? order by abs(effect) desc, source, target"
        table = db.sql(sql, params=[circuit]).to_arrow_table()
    return Graph(circuit, at, nodes, Edges(table, numbers), numbers)


NODES = f"""{MINE},
best as (
    select e.dictionary, e.latent, e.text, e.explainer, s.value as score, s.control
    from explanations e semi join mine using (dictionary, latent)
    left join scores s on s.explanation = e.explanation and s.error is null
    where e.text is not null
    qualify row_number() over (partition by e.dictionary, e.latent
                               order by {best.FIRST}) = 1),
labelled as (
    select dictionary, latent, arg_max(text, written) as label, arg_max(author, written) as label_author
    from labels semi join mine using (dictionary, latent) group by dictionary, latent)
select n.*, coalesce(nullif(l.label, ''), b.text) as text, b.text as explanation, b.explainer,
       if(nullif(l.label, '') is null, b.score, null) as score, if(nullif(l.label, '') is null, b.control, null) as control,
       nullif(l.label, '') as label, l.label_author, f.density, f.max_activation
from nodes n
left join best b using (dictionary, latent) left join labelled l using (dictionary, latent)
left join (select dictionary, latent, density, max_activation
           from features semi join mine using (dictionary, latent)) f using (dictionary, latent)
where n.circuit = $1 order by n.rank, n.node"""
