"""Features as rows: what lists and files show of them, from the columns alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from data.facts.columns import Facts
from data.facts.facets import Facets
from data.facts.narrowing import Chosen, chosen

Rows = Int[np.ndarray, " some"]


def table(facts: Facts, facets: Facets, rows: Rows) -> pa.Table:
    """The features in `rows`: what was harvested, their circuits, newest label, explanation and score."""
    base, placed = facts.base, facts.placed
    columns: dict[str, Any] = {
        "dictionary": pa.array(base.dictionaries, pa.string()).take(pa.array(base.code[rows])),
        "latent": base.latent[rows],
        "site": pa.array(base.sites, pa.string()).take(pa.array(base.code[rows])),
        "density": base.density[rows],
        "max_activation": base.maximum[rows],
        "circuits": placed.many[rows],
        "effect": pa.array(placed.effect[rows], from_pandas=True),
        "contested": facts.said.contested[rows],
    }
    return pa.table(columns | _labels(facts, rows) | _said(facts, chosen(facts, facets), rows))


def _labels(facts: Facts, rows: Rows) -> dict[str, pa.Array | pa.ChunkedArray]:
    """The newest label of each, and whose it is."""
    labelled = facts.labelled
    newest = np.full(len(facts), -1, dtype=np.int64)
    newest[labelled.row] = np.arange(len(labelled.row))
    place = newest[rows]
    author = np.append(labelled.author, 0)[place]
    return {"label": _taken(labelled.text, place), "author": _named(labelled.authors.names, author, place)}


def _said(facts: Facts, shown: Chosen, rows: Rows) -> dict[str, pa.Array | pa.ChunkedArray]:
    """The explanation and the score of each."""
    said, text, score = facts.said, shown.text[rows], shown.score[rows]
    numbers = {
        label: pa.array(np.append(getattr(said, name), np.nan)[score], from_pandas=True)
        for label, name in (
            ("score", "value"), ("control", "control"), ("difference", "difference"), ("difference_lower", "lower"),
            ("difference_upper", "upper"),
        )
    }  # fmt: skip
    return {
        "text": _taken(said.text, text),
        "explainer": _named(said.explainers.names, np.append(said.explainer, 0)[text], text),
        "scorer": _named(said.scorers.names, np.append(said.scorer, 0)[score], score),
    } | numbers


def _taken(texts: pa.ChunkedArray, place: Rows) -> pa.ChunkedArray:
    """The texts at these places, null at -1."""
    return texts.take(pa.array(place.astype(np.int64), mask=place < 0))


def _named(names: tuple[str, ...], code: np.ndarray, place: Rows) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(code.astype(np.int64), mask=place < 0))
