"""Neuronpedia's graph file: circuit-tracer's, with who made it, how, and where its features are described."""

from __future__ import annotations

from typing import Any

from circuits.formats import Portable, Row
from circuits.formats._graph import base_metadata, is_graph, read_graph, write_graph
from circuits.formats.circuit_tracer import NEURONPEDIA

LOOKS_LIKE = "metadata with info or settings, qParams, nodes, links"
SIZES = False


def recognises(document: Any) -> bool:
    """Whether it is such a graph, with Neuronpedia's additions."""
    return is_graph(document) and any(name in document["metadata"] for name in NEURONPEDIA)


def write(portable: Portable) -> Row:
    """The document; the run's own settings stand in `generation_settings`."""
    run = portable.run
    info = {
        "description": f"{portable.circuit['task']}: {portable.circuit['method']}, {portable.circuit['pairs']} pairs",
        "creator_name": "lacewing", "source_urls": [],
        "generator": {"name": "lacewing", "version": str(run.get("version", "")), "url": ""},
    }  # fmt: skip
    settings = {"generation_settings": run.get("config", {}), "pruning_settings": {}}
    return write_graph(portable, base_metadata(portable) | {"info": info} | settings)


def read(document: Row) -> Portable:
    """The circuit; raises `Mistake`."""
    return read_graph(document, "Neuronpedia's attribution graph")
