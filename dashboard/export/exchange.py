"""A circuit as another tool's JSON, with labels, pins and groups, and these again out of an imported one.

1. `circuits.exchange` makes the document; here the labels of features are put where the format has room for them
   (`clerp`), pins and groups into `qParams`, as Neuronpedia's own page saves them.
2. What an import kept of another tool's pins and supernodes is given back as marks of the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from circuits.exchange import FORMATS, portable_of
from circuits.formats import KEY
from dashboard.widgets.graph import Marks
from data import parts, queries
from data.store import Workspace

KINDS = ("circuit_tracer", "neuronpedia")
"""The formats that hold a graph to look at."""


def as_json(workspace: Workspace, identity: str, format_: str, marks: Marks, texts: Mapping[str, str]) -> str:
    """The circuit's document; `texts` are labels or explanations by node. Raises `Mistake`."""
    document = parts.load(FORMATS, format_).write(portable_of(workspace, identity))
    return json.dumps(marked(document, marks, texts), ensure_ascii=False) + "\n"


def marked(document: dict[str, Any], marks: Marks, texts: Mapping[str, str]) -> dict[str, Any]:
    """The document with labels, pins and groups in the places that the format has for them."""
    names = {row["node"]: row["id"] for row in document[KEY]["nodes"] if row.get("id")}
    labels = {names[node]: text for node, text in texts.items() if node in names}
    for node in document["nodes"]:
        if not node.get("clerp") and not node.get("is_target_logit"):
            node["clerp"] = labels.get(node["node_id"], "")
    if marks.pinned or marks.groups:
        groups = [[g["name"], *(names[n] for n in g["nodes"] if n in names)] for g in marks.groups]
        pinned = [*(names[n] for n in marks.pinned if n in names), *(n for group in groups for n in group[1:])]
        document["qParams"] = {**document["qParams"], "pinnedIds": list(dict.fromkeys(pinned)), "supernodes": groups}
    return document


def imported(workspace: Workspace, identity: str) -> Marks:
    """The pins and supernodes that the file of an imported circuit had; none for one that was traced here."""
    found = queries.rows(workspace, "select details from imports where circuit = ?", [identity])
    graph = (found[0]["details"].get("leftover") or {}).get("graph") or {} if found else {}
    names = {record["node_id"]: node for node, record in (graph.get("nodes") or {}).items()}
    asked = graph.get("qParams") or {}
    groups = [_group(number, group, names) for number, group in enumerate(_several(asked.get("supernodes")), 1)]
    inside = {node for group in groups for node in group["nodes"]}
    pinned = [names[n] for n in _several(asked.get("pinnedIds")) if n in names and names[n] not in inside]
    return Marks(pinned, [group for group in groups if group["nodes"]])


def _group(number: int, group: Any, names: Mapping[str, str]) -> dict[str, Any]:
    name, *members = group if isinstance(group, list) and group else [""]
    return {"id": f"g{number}", "name": str(name)[:80], "nodes": [names[n] for n in members if n in names]}


def _several(value: Any) -> Sequence[Any]:
    """A list, or what an address makes of one: texts between commas."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = value.split(",")
    return value if isinstance(value, list) else []
