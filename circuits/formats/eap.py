"""The graph file of EAP-IG, which the MIB circuit track takes: cfg, nodes and edges with scores (arXiv 2403.17806).

1. Its nodes are `input`, the heads `aLAYER.hHEAD`, the MLPs `mLAYER` and `logits`, without positions: a score is the sum of
   a node's effects over its places. An edge into a head says through which of q, k and v it goes.
2. Our edges into a head at `attn_z` do not tell q, k and v apart: a third of the effect is written to each, so that the
   three add up. The exact rows stand beside them.
3. Nodes that it has no name for (latents, errors, neurons) stand in our part alone, and so do their edges. A circuit with
   no node that it can name is refused: the file would be an empty graph to its readers.
4. Read back, the three edges into a head become one with their sum; its in_graph flags and its own scores are kept. What it
   has not scored is NaN in its files, and left out of ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from circuits.formats import KEY, Portable, Row, extension
from circuits.formats._reading import bare, extension_of, need
from data.errors import Mistake
from data.words import Node, Site

LOOKS_LIKE = "cfg, nodes, edges"
HEAD = re.compile(r"a(\d+)\.h(\d+)")
MLP = re.compile(r"m(\d+)")
LETTERS = "qkv"
SIZES = True


def recognises(document: Any) -> bool:
    """Whether it is such a graph."""
    return isinstance(document, dict) and {"cfg", "nodes", "edges"} <= document.keys()


def write(portable: Portable, sizes: Row) -> Row:
    """The document, `sizes` of the model in its cfg. Raises `Mistake` when the format can name no node of the circuit."""
    names = {row["node"]: name for row in portable.nodes if (name := name_of(row))}
    if not set(names.values()) - {"logits"}:
        kinds = ", ".join(sorted({f"{row['kind']}s" for row in portable.nodes if row["kind"] != "logit"})) or "nothing"
        raise Mistake(
            f"EAP's files name heads, whole MLP outputs, the input and the logits; this circuit has {kinds}. "
            f"Choose --format circuit_tracer or neuronpedia."
        )
    kept, own = portable.leftover.get("eap", {}), extension(portable, names)
    scores = _sums((names[row["node"]], row["effect"]) for row in portable.nodes if row["node"] in names)
    nodes = {name: {"in_graph": True, "score": score} for name, score in scores.items()}
    edges = _sums(
        (part, effect) for edge in portable.edges for part, effect in _parts(edge, names)
    )  # fmt: skip
    document = {
        "cfg": sizes,
        "nodes": nodes, "edges": {name: {"score": score, "in_graph": True} for name, score in edges.items()},
    }  # fmt: skip
    merged = {name: value | kept.get(name, {}) for name, value in document.items()}
    if "n_layers" not in merged["cfg"]:
        raise Mistake("EAP's files tell the model's sizes, and the model of this circuit is not known here.")
    return {**merged, "nodes": {name: _scored(record) for name, record in merged["nodes"].items()}, KEY: own}


def _scored(record: Row) -> Row:
    """A node as its readers can take it: without a score that is none, and NaN where a neuron has none."""
    record = {name: value for name, value in record.items() if value is not None}
    if isinstance(record.get("neurons_scores"), list):
        record["neurons_scores"] = [math.nan if score is None else score for score in record["neurons_scores"]]
    return record


def name_of(row: Row) -> str | None:
    """What the format calls a node, or None."""
    if row["kind"] == "logit":
        return "logits"
    site = Site.parse(row["site"]) if row["site"] else None
    if site is None:
        return "input" if row["kind"] == "token" else None
    if row["kind"] == "head" and site.kind == "attn_z":
        return f"a{site.layer}.h{row['latent']}"
    if row["kind"] == "site":
        return {("resid_pre", 0): "input"}.get((site.kind, site.layer)) or (
            f"m{site.layer}" if site.kind == "mlp_out" else None
        )
    return None


def _sums(parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for name, value in parts:
        total[name] = total.get(name, 0.0) + value
    return total


def _parts(edge: Row, names: Mapping[str, str]) -> list[tuple[str, float]]:
    """The format's edges for one of ours, with what each carries."""
    source, target = names.get(edge["source"]), names.get(edge["target"])
    if source is None or target is None:
        return []
    if HEAD.fullmatch(target):
        return [(f"{source}->{target}<{letter}>", edge["effect"] / len(LETTERS)) for letter in LETTERS]
    return [(f"{source}->{target}", edge["effect"])]


def read(document: Row) -> Portable:
    """The circuit: what is in the graph. Raises `Mistake` when a part is missing, or a node or edge is unknown."""
    cfg, nodes, edges = (need(document, name, dict, "The file") for name in ("cfg", "nodes", "edges"))
    added = extension_of(document)
    there = {name for name, record in nodes.items() if need(record, "in_graph", bool, f"Node {name!r}")}
    parts = {name: _ends(name, nodes, record) for name, record in edges.items()}
    inside = {name: ends for name, ends in parts.items() if edges[name]["in_graph"]}
    scores = {
        name: float(nodes[name].get("score") or sum(edges[e]["score"] for e, ends in inside.items() if ends[0] == name))
        for name in there
    }  # fmt: skip
    left = {"cfg": cfg, "nodes": nodes, "edges": edges}
    leftover = {**added.get("leftover", {}), "eap": left}
    rows = _rows(scores, added, need(cfg, "n_layers", int, "'cfg'"))
    known = {row["node"] for row in rows}
    joined = _sums((f"{ends[0]} {ends[1]}", edges[name]["score"]) for name, ends in inside.items())
    drawn = [e for e in _edges(joined, added, rows) if e["source"] in known and e["target"] in known]
    return Portable(
        added.get("circuit") or _circuit(cfg), rows, drawn, added.get("evaluations", []), added.get("examples", {}),
        added.get("run", {}), leftover,
    )  # fmt: skip


def _ends(name: str, nodes: Mapping[str, Row], record: Any) -> tuple[str, str]:
    """Source and target of an edge, its fields looked at."""
    where = f"Edge {name!r}"
    need(record, "score", float, where)
    need(record, "in_graph", bool, where)
    source, arrow, target = name.partition("->")
    target = re.sub(r"<[qkv]>$", "", target)
    for end in (source, target):
        if not arrow or end not in nodes:
            raise Mistake(f"{where} dangles: there is no node {end!r} in the file.")
    return source, target


def _rows(scores: Mapping[str, float], added: Row, layers: int) -> list[Row]:
    """Rows for the nodes in the graph: ours where their sum is still the score, and those that only we can name."""
    ours: dict[str | None, list[Row]] = {}
    for row in added.get("nodes", []):
        ours.setdefault(row.get("id"), []).append(row)
    found = [bare(row) for row in ours.get(None, [])]
    for name, score in scores.items():
        known = ours.get(name, [])
        same = known and math.isclose(sum(row["effect"] for row in known), score, rel_tol=1e-9, abs_tol=1e-12)
        found += [bare(row) for row in known] if same else [_row(name, score, layers)]
    if not added:
        for place, row in enumerate(sorted(found, key=lambda row: -abs(row["effect"])), 1):
            row["rank"] = 0 if row["kind"] == "logit" else place
    order = {row["node"]: number for number, row in enumerate(added.get("nodes", []))}
    return sorted(found, key=lambda row: order.get(row["node"], len(order)))


def _row(name: str, score: float, layers: int) -> Row:
    """The row of another tool's node, at the only place there is. Raises `Mistake` for a name that is none."""
    if name == "logits":
        node, layer = Node(None, "logit", None, 0), layers
    elif name == "input":
        node, layer = Node(Site(0, "resid_pre"), "site", 0, 0), 0
    elif match := HEAD.fullmatch(name):
        layer = int(match[1])
        node = Node(Site(layer, "attn_z"), "head", int(match[2]), 0)
    elif match := MLP.fullmatch(name):
        layer = int(match[1])
        node = Node(Site(layer, "mlp_out"), "site", 0, 0)
    else:
        raise Mistake(f"There is no node {name!r} in such graphs. Known: input, a0.h0, m0, logits and the like.")
    return {
        "node": str(node), "site": str(node.site) if node.site else None, "layer": layer, "kind": node.kind,
        "dictionary": None, "latent": node.latent, "position": 0, "role": "all", "effect": score, "lower": score,
        "upper": score, "rank": 0,
    }  # fmt: skip


def _edges(joined: Mapping[str, float], added: Row, rows: list[Row]) -> list[Row]:
    """Our edges where their sum is still the score, and those that only we can name."""
    names = {row["node"]: row.get("id") for row in added.get("nodes", [])}
    mine: dict[str, list[Row]] = {}
    for edge in added.get("edges", []):
        ends = (names.get(edge["source"]), names.get(edge["target"]))
        mine.setdefault(f"{ends[0]} {ends[1]}" if None not in ends else "", []).append(edge)
    by_name = {name_of(row): row["node"] for row in rows}
    found = list(mine.get("", []))
    for pair, score in joined.items():
        known, (source, target) = mine.get(pair, []), pair.split(" ")
        if known and math.isclose(sum(edge["effect"] for edge in known), score, rel_tol=1e-9, abs_tol=1e-12):
            found += known
        elif source in by_name and target in by_name:
            ends = {"source": by_name[source], "target": by_name[target]}
            found.append({**ends, "effect": score, "lower": score, "upper": score})
    order = {(edge["source"], edge["target"]): number for number, edge in enumerate(added.get("edges", []))}
    return sorted(found, key=lambda edge: order.get((edge["source"], edge["target"]), len(order)))


def _circuit(cfg: Row) -> Row:
    return {
        "task": str(cfg.get("task") or "graph"), "method": "EAP's edge scores", "metric": "not said",
        "ablation": "not said", "model": str(cfg.get("model_name") or "unknown"), "dictionaries": {}, "pairs": 0,
        "prompt": {
            "tokens": ["all"], "counter_tokens": [], "roles": ["all"], "text": "", "counter_text": "", "answer": "",
            "counter_answer": "",
        },
        "selfcheck": {}, "calibration": {}, "summary": {"intervals": "none: scores only"},
    }  # fmt: skip
