"""Every SELECT that a reader of a workspace needs.

1. A query opens a short read-only connection, takes what it needs and closes it, so that it can never stop a run.
2. Rows are plain dicts of column to value with their JSON columns parsed; a question with few fixed answers gives a
   frozen dataclass. Nothing here writes.
3. `version` names the state of the file: an answer may be kept for as long as it stays the same.

A reader who waits too long for a writer gets the workspace's `Mistake`, which says so. The common questions are named
here; a file of this folder holds those of one subject.
"""

from __future__ import annotations

from data.queries.base import Counts, Row, counts, rows, runs, version
from data.queries.of_circuits import circuit, circuits, differences, edges, evaluations, nodes, paths, task
from data.queries.of_features import (
    DENSE,
    SORTS,
    STATES,
    Facets,
    explanations,
    feature,
    features,
    harvests,
    places,
    scores,
)
from data.queries.of_training import (
    DENSITY_EDGES,
    dictionaries,
    dictionaries_of_run,
    heldout_curve,
    training_curve,
    training_runs,
)

__all__ = [
    "DENSE", "DENSITY_EDGES", "SORTS", "STATES", "Counts", "Facets", "Row", "circuit", "circuits", "counts", "dictionaries",
    "dictionaries_of_run", "differences", "edges", "evaluations", "explanations", "feature", "features", "harvests",
    "heldout_curve", "nodes", "paths", "places", "rows", "runs", "scores", "task", "training_curve", "training_runs",
    "version",
]  # fmt: skip
