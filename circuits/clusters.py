"""Behaviours without a task: contexts in clusters, and a circuit for each (arXiv 2403.19647, section 5).

1. Contexts that the model predicts well and not by repetition (`contexts`).
2. A sparse vector for each (`vectors`), written to the workspace as it is made; clusters of them (`grouping`).
3. Each cluster is traced as a task would be: integrated gradients, positions summed, the strongest nodes verified, on one
   half of its documents; faithfulness against random circuits on the other half.
4. What the paper left open, how good a cluster is, is written beside it: cohesion against shuffled clusters, and the
   faithfulness of its circuit. A cluster that cannot be traced is a row with the reason.
5. Clusters are traced by a pool's workers; each is stored here as soon as it is done. An equal run that was killed goes
   on with those that are not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix, vstack

from circuits import cluster_record, contexts, grouping, splice
from circuits.cluster_record import Cluster, Found
from circuits.clusters_config import ClustersConfig
from circuits.contexts import Context
from circuits.mediators import Mediator
from circuits.problem import Problem
from circuits.setup import find_mediators
from data import parts, progress, runs, texts
from data.models import Subject
from data.pool import Pool
from data.store import Workspace
from data.words import Site

CHUNK = 256
"""Contexts whose vectors are made and written together."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What every cluster is traced with."""

    subject: Subject
    mediators: Mapping[Site, Mediator]
    config: ClustersConfig
    recipe: str

    def problem(self, chosen: Sequence[Context]) -> Problem:
        """The contexts as a problem: the log-probability of the next token, effects summed over the text."""
        pairs = [context.pair(len(self.subject.prefix)) for context in chosen]
        return Problem.of(
            self.subject, self.mediators, pairs, self.config.batch,
            positions="role", metric="log_probability", reference=self.config.reference, seed=self.config.seed,
        )  # fmt: skip

    @property
    def folder(self) -> str:
        """Where in the workspace contexts and vectors are."""
        return f"clusters/{self.recipe}"


def clusters(workspace: Workspace, config: ClustersConfig) -> str:
    """Finds and traces clusters, and says how many of them hold; an equal finished run is not repeated.

    Raises `Mistake` when the model or a dictionary is missing, or the text has too few contexts.
    """
    parts.load("circuits.vectors", config.vectors)
    parts.load("circuits.references", config.reference)
    subject = Subject.open(config.model)
    mediators = find_mediators(workspace, subject, config.sites, ["latents"])
    digests = {str(site): one.digest for site, one in mediators.items()}
    inputs = {"model": subject.digest, "dictionaries": digests, "text": texts.text_digest(config.text)}
    bench = Bench(subject, mediators, config, runs.recipe_of("clusters", vars(config), inputs))
    if runs.finished(workspace, "clusters", config, inputs):
        return cluster_record.summary(workspace, bench.recipe)
    start = runs.start(workspace, "clusters", config, seed=config.seed, inputs=inputs)
    with start as run, progress.shown(run) as phase:
        work(workspace, bench, run.run, phase)
    return cluster_record.summary(workspace, bench.recipe)


def work(workspace: Workspace, bench: Bench, run: str, phase: progress.Phase) -> None:
    """Everything that is not there yet from an equal run."""
    with phase("contexts") as report:
        chosen = gather(workspace, bench, report)
    with phase("self-check"):
        check = splice.self_check(bench.problem(chosen[: bench.config.batch]))
    with phase(f"vectors: {bench.config.vectors}") as report:
        rows = grouping.unit(vectors(workspace, bench, chosen, report))
    with phase("clustering"):
        labels = grouping.cluster(rows, bench.config.clusters, bench.config.seed)
    waiting = list(_waiting(workspace, bench, chosen, rows, labels))
    opening = Opening(workspace.folder, bench.config, bench.recipe)
    make = opening if bench.config.workers else lambda: functools.partial(cluster_record.trace, bench)
    with phase("circuits of clusters") as report, Pool.open(bench.config.workers) as pool:
        for done, (number, found) in enumerate(pool.as_done(make, waiting), 1):
            cluster_record.store(workspace, bench, run, check, waiting[number], found)
            report(done, len(waiting))


@dataclass(frozen=True)
class Opening:
    """Opens, in a worker, what clusters are traced with."""

    folder: Path
    config: ClustersConfig
    recipe: str

    def __call__(self) -> Callable[[Cluster], Found]:
        subject = Subject.open(self.config.model)
        mediators = find_mediators(Workspace.open(self.folder), subject, self.config.sites, ["latents"])
        return functools.partial(cluster_record.trace, Bench(subject, mediators, self.config, self.recipe))


def _waiting(
    workspace: Workspace, bench: Bench, chosen: Sequence[Context], rows: csr_matrix, labels: np.ndarray
) -> Iterator[Cluster]:
    """The clusters that an equal run has not stored, each with its cohesion."""
    done = cluster_record.done(workspace, bench.recipe)
    for number in range(bench.config.clusters):
        members = np.flatnonzero(labels == number)
        if number not in done and len(members):
            cohesion = grouping.cohesion(rows, members, bench.config.seed) if len(members) > 1 else None
            yield Cluster(number, tuple(chosen[i] for i in members.tolist()), cohesion)


def gather(workspace: Workspace, bench: Bench, report: progress.Report) -> list[Context]:
    """The contexts, found once and kept as a part."""
    path = workspace.folder / bench.folder / "part-contexts.parquet"
    if not path.exists():
        c = bench.config
        found = contexts.find(
            bench.subject, c.text, wanted=c.contexts, length=c.length, below=c.below, seed=c.seed, report=report
        )
        workspace.write_part(f"{bench.folder}/{path.name}", pa.Table.from_pylist([vars(one) for one in found]))
    return [Context(**row | {"tokens": tuple(row["tokens"])}) for row in pq.read_table(path).to_pylist()]


def vectors(workspace: Workspace, bench: Bench, chosen: Sequence[Context], report: progress.Report) -> csr_matrix:
    """A row for each context; every chunk of them is a part, which is not made twice."""
    rows: list[csr_matrix] = []
    for start in range(0, len(chosen), CHUNK):
        name = f"part-vectors-{start // CHUNK}.parquet"
        if not (workspace.folder / bench.folder / name).exists():
            made = chunk_of_vectors(bench, chosen[start : start + CHUNK])
            workspace.write_part(f"{bench.folder}/{name}", _table(made))
        rows.append(_matrix(pq.read_table(workspace.folder / bench.folder / name)))
        report(min(start + CHUNK, len(chosen)), len(chosen))
    return csr_matrix(vstack(rows))


def chunk_of_vectors(bench: Bench, chosen: Sequence[Context]) -> csr_matrix:
    """The vectors of some contexts."""
    problem = bench.problem(chosen)
    part = parts.load("circuits.vectors", bench.config.vectors)
    return csr_matrix(vstack([part.vectors(problem, rows, bench.config.seed) for rows in problem.chunks()]))


def _table(matrix: csr_matrix) -> pa.Table:
    (rows, width), coo = matrix.get_shape(), matrix.tocoo()
    shape: dict[str | bytes, str | bytes] = {"rows": str(rows), "width": str(width)}
    columns: dict[str, Any] = {"context": coo.row, "coordinate": coo.col, "value": coo.data}
    return pa.table(columns).replace_schema_metadata(shape)


def _matrix(table: pa.Table) -> csr_matrix:
    shape = tuple(int(table.schema.metadata[name]) for name in (b"rows", b"width"))
    row, column, value = (table[name].to_numpy() for name in ("context", "coordinate", "value"))
    return csr_matrix((value, (row, column)), shape=shape)
