"""circuit-tracer's graph file, as its command writes it and its server shows it."""

from __future__ import annotations

from typing import Any

from circuits.formats import Portable, Row
from circuits.formats._graph import base_metadata, is_graph, read_graph, write_graph

LOOKS_LIKE = "metadata, qParams, nodes, links"
SIZES = False
NEURONPEDIA = ("info", "feature_details", "generation_settings", "pruning_settings")
"""What Neuronpedia adds to the metadata."""


def recognises(document: Any) -> bool:
    """Whether it is such a graph, without Neuronpedia's additions."""
    return is_graph(document) and not any(name in document["metadata"] for name in NEURONPEDIA)


def write(portable: Portable) -> Row:
    """The document."""
    return write_graph(portable, base_metadata(portable))


def read(document: Row) -> Portable:
    """The circuit; raises `Mistake`."""
    return read_graph(document, "circuit-tracer's attribution graph")
