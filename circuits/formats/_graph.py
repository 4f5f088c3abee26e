"""The graph JSON that circuit-tracer writes and Neuronpedia shows: metadata, qParams, nodes, links.

1. A feature's `node_id` is LAYER_INDEX_POSITION and its `feature` the Cantor pairing of layer and index; an error's index
   is -1. Files of 2025 call errors 0_LAYER_POSITION, which is also a feature of layer 0: nodes are told apart by
   `feature_type` too. Errors have no parents, so that a link to such an id means the feature; of two links from it to one
   target the first is the feature's, as that tool writes them; a single one is taken as the feature's and counted.
2. `influence` is a cumulative rank score: the share of all influence that nodes up to this one carry, largest first. It is
   written from our effects in that same sense, and never read as an effect.
3. Links of another tool are direct linear effects on the target's activation. A node's effect on the target logit is the
   sum over all paths: direct weight plus, over its targets, weight / activation of the target x the target's effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from circuits.formats import KEY, Portable, Row, extension
from circuits.formats._reading import bare, extension_of, need, once, records
from data.errors import Mistake, unknown
from data.words import Node, Site

FEATURE, ERROR, TOKEN, LOGIT = "cross layer transcoder", "mlp reconstruction error", "embedding", "logit"
TYPES = {"latent": FEATURE, "error": ERROR, "token": TOKEN, "logit": LOGIT, "head": "attention head"}
KINDS = {FEATURE: "latent", "transcoder": "latent", "lorsa": "latent", ERROR: "error", TOKEN: "token", LOGIT: "logit"}


def is_graph(document: Any) -> bool:
    """Whether it has the four parts of such a file."""
    return isinstance(document, dict) and {"metadata", "qParams", "nodes", "links"} <= document.keys()


def cantor(layer: int, index: int) -> int:
    """The pairing function (x + y)(x + y + 1) / 2 + y."""
    return (layer + index) * (layer + index + 1) // 2 + index


def write_graph(portable: Portable, metadata: Row) -> Row:
    """The document, with `metadata` where another tool's own is not kept."""
    kept = portable.leftover.get("graph", {})
    names = _ids(portable.nodes, kept.get("nodes", {}))
    influence = _influence(portable.nodes)
    nodes = [_node(row, names[row["node"]], influence, portable) | _kept(kept, row) for row in portable.nodes]
    errors = {row["node"] for row in portable.nodes if row["kind"] == "error"}
    links = [
        {"source": names[e["source"]], "target": names[e["target"]], "weight": e["effect"]}
        for e in sorted(portable.edges, key=lambda e: e["source"] in errors)  # the order of links tells equal ids apart
    ]
    plain = {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": ""}
    return {
        "metadata": kept.get("metadata", metadata), "qParams": kept.get("qParams", plain), "nodes": nodes, "links": links,
        KEY: extension(portable, names),
    }  # fmt: skip


def _kept(kept: Row, row: Row) -> Row:
    return kept.get("nodes", {}).get(row["node"], {})


def base_metadata(portable: Portable) -> Row:
    """What both kinds of file say of the whole."""
    circuit = portable.circuit
    model = str(portable.run.get("config", {}).get("model") or circuit["model"]).rstrip("/").rpartition("/")[2]
    prompt = circuit["prompt"]
    return {
        "slug": re.sub(r"[^a-z0-9]+", "-", f"{circuit['task']}-{circuit['method']}".lower()).strip("-"), "scan": model,
        "transcoder_list": [f"{site} {name}" for site, name in circuit["dictionaries"].items()],
        "prompt_tokens": list(prompt.get("tokens", [])), "prompt": prompt.get("text", ""), "node_threshold": 1.0,
        "schema_version": 1,
    }  # fmt: skip


def _ids(nodes: Iterable[Row], kept: Mapping[str, Row]) -> dict[str, str]:
    """An id for every node, each different: two sites of one block would share theirs, so the second says its kind."""
    ids: dict[str, str] = {}
    taken: set[str] = set()
    for row in nodes:
        name = kept[row["node"]]["node_id"] if row["node"] in kept else _id(row)
        if name in taken and row["node"] not in kept:
            name = f"{name}_{str(row['site']).split(':')[0].replace('_', '-')}_{row['kind']}"
        taken.add(name)
        ids[row["node"]] = name
    return ids


def _id(row: Row) -> str:
    if row["kind"] == "token":
        return f"E_{row['latent']}_{row['position']}"
    layer = row["layer"] + 1 if row["kind"] == "logit" else row["layer"]
    index = -1 if row["kind"] == "error" else row["latent"] or 0
    return f"{layer}_{index}_{row['position']}"


def _node(row: Row, name: str, influence: Mapping[str, float], portable: Portable) -> Row:
    kind, index = row["kind"], row["latent"] or 0
    layer = "E" if kind == "token" else str(row["layer"] + (kind == "logit"))
    feature = {"error": -1, "token": row["position"], "logit": index}.get(kind, cantor(row["layer"], index))
    return {
        "node_id": name, "feature": feature, "layer": layer, "ctx_idx": row["position"],
        "feature_type": TYPES.get(kind, kind), "token_prob": 0.0, "is_target_logit": kind == "logit", "run_idx": 0,
        "reverse_ctx_idx": 0, "jsNodeId": _js(name, kind), "clerp": _words(row, portable),
        "influence": influence.get(row["node"]), "activation": None,
    }  # fmt: skip


def _js(name: str, kind: str) -> str:
    head, _, last = name.rpartition("_")
    if kind == "logit":
        return f"L_{head.partition('_')[2]}-{last}"
    return f"{head}-{last}" if kind in ("error", "token") or not last.isdigit() else f"{head}-0"


def _words(row: Row, portable: Portable) -> str:
    if row["kind"] != "logit":
        return ""
    prompt = portable.circuit["prompt"]
    return f"{portable.circuit['metric']}: {prompt.get('answer', '')!r} against {prompt.get('counter_answer', '')!r}"


def _influence(nodes: Iterable[Row]) -> dict[str, float]:
    """The share of all |effect| that nodes up to each carry, largest first; the metric's own node has none."""
    ranked = sorted((row for row in nodes if row["kind"] != "logit"), key=lambda row: -abs(row["effect"]))
    total, running, found = sum(abs(row["effect"]) for row in ranked) or 1.0, 0.0, {}
    for row in ranked:
        running += abs(row["effect"]) / total
        found[row["node"]] = running
    return found


def read_graph(document: Row, method: str) -> Portable:
    """The circuit of a document; raises `Mistake` when a part is missing, a link dangles, or a node is unknown."""
    metadata = need(document, "metadata", dict, "The file")
    need(document, "qParams", dict, "The file")
    added = extension_of(document)
    ours = {(row["id"], row["kind"] == "error"): bare(row) for row in added.get("nodes", []) if row.get("id")}
    tokens = need(metadata, "prompt_tokens", list, "'metadata'")
    named = [(record, *_placed(record, ours, tokens)) for record in records(document, "nodes")]
    once((f"{record['node_id']} ({record['feature_type']})" for record, _, _ in named), "node")
    links, ambiguous = _links(document, named)
    rows = [row for _, row, _ in named]
    if any(not known for _, _, known in named):
        _propagate(named, links)
    edges = [_edge(link, added) for link in links]
    left = {
        "metadata": metadata, "qParams": document["qParams"], "nodes": {row["node"]: record for record, row, _ in named}
    }  # fmt: skip
    circuit = added.get("circuit") or _circuit(metadata, tokens, method, ambiguous)
    leftover = {**added.get("leftover", {}), "graph": left}
    return Portable(
        circuit, rows, edges, added.get("evaluations", []), added.get("examples", {}), added.get("run", {}), leftover
    )


def _placed(record: Row, ours: Mapping[tuple[str, bool], Row], tokens: list[str]) -> tuple[Row, bool]:
    """The row of a node, and whether it is one that we wrote."""
    name = need(record, "node_id", str, "A node")
    where = f"Node {name!r}"
    kind = need(record, "feature_type", str, where)
    position = need(record, "ctx_idx", int, where)
    if (name, kind == ERROR) in ours:
        return ours[name, kind == ERROR], True
    known = KINDS.get(kind) or ("latent" if "lorsa" in kind.lower() else None)
    if known is None:
        raise unknown("feature_type", kind, KINDS, f"Node {name!r} has it.")
    if not 0 <= position < len(tokens):
        raise Mistake(f"{where} is at position {position}, and the prompt has {len(tokens)} tokens.")
    return _row(record, known, position, tokens), False


def _row(record: Row, kind: str, position: int, tokens: list[str]) -> Row:
    layer, index = _layer(record, kind), _index(record, kind)
    part = "attn_out" if "lorsa" in record["feature_type"].lower() else "mlp_out"
    site = Site(layer, part) if kind in ("latent", "error") else None
    node = Node(site, kind, index, position)
    return {
        "node": str(node), "site": str(site) if site else None, "layer": layer, "kind": kind, "dictionary": None,
        "latent": index, "position": position, "role": str(tokens[position]), "effect": 0.0, "lower": 0.0, "upper": 0.0,
        "rank": 0,
    }  # fmt: skip


def _layer(record: Row, kind: str) -> int:
    """The block; tokens are put with the first, a logit one above the last (these files leave one free in between)."""
    if kind == "token":
        return 0
    text = str(record.get("layer"))
    if not re.fullmatch(r"\d{1,4}", text):
        raise Mistake(f"'layer' of node {record['node_id']!r} should be a number, not {text!r}.")
    return max(int(text) - 1, 0) if kind == "logit" else int(text)


def _index(record: Row, kind: str) -> int | None:
    """The latent's or token's number: from the id where it has the usual form, or else from `feature`."""
    if kind == "error":
        return None
    match = re.fullmatch(r"(?:E|L|\d+)_(\d{1,9})_\d+", record["node_id"])
    if match:
        return int(match[1])
    feature = need(record, "feature", int, f"Node {record['node_id']!r}")
    return feature if kind != "latent" else unpaired(feature)[1]


def unpaired(number: int) -> tuple[int, int]:
    """Layer and index of a Cantor number."""
    if number < 0:
        raise Mistake(f"The feature {number} is no feature's number.")
    diagonal = int(((8 * number + 1) ** 0.5 - 1) // 2)
    while cantor(diagonal + 1, 0) <= number:
        diagonal += 1
    while cantor(diagonal, 0) > number:
        diagonal -= 1
    index = number - cantor(diagonal, 0)
    return diagonal - index, index


def _links(document: Row, named: list[tuple[Row, Row, bool]]) -> tuple[list[Row], int]:
    """Links between rows, and how many had a source that could be either of two nodes; see the module."""
    by_id: dict[str, list[Row]] = {}
    for record, row, _ in sorted(named, key=lambda entry: entry[0]["feature_type"] == ERROR):
        by_id.setdefault(record["node_id"], []).append(row)
    found: list[Row] = []
    uses: dict[tuple[str, str], int] = {}
    for link in records(document, "links"):
        ends = [need(link, end, str, "A link") for end in ("source", "target")]
        weight = float(need(link, "weight", float, f"The link from {ends[0]!r} to {ends[1]!r}"))
        for end in ends:
            if end not in by_id:
                raise Mistake(
                    f"The link from {ends[0]!r} to {ends[1]!r} dangles: there is no node {end!r} in the file."
                )
        place = uses.get((ends[0], ends[1]), 0)
        uses[ends[0], ends[1]] = place + 1
        if place >= len(by_id[ends[0]]):
            raise Mistake(f"The link from {ends[0]!r} to {ends[1]!r} is in the file more than once.")
        found.append({"source": by_id[ends[0]][place]["node"], "target": by_id[ends[1]][0]["node"], "weight": weight})
    return found, sum(count < len(by_id[source]) for (source, _), count in uses.items())


def _edge(link: Row, added: Row) -> Row:
    known = {(row["source"], row["target"]): row for row in added.get("edges", [])}
    row = known.get((link["source"], link["target"]))
    if row is not None and row["effect"] == link["weight"]:
        return row
    weight = link["weight"]
    return {"source": link["source"], "target": link["target"], "effect": weight, "lower": weight, "upper": weight}


def _propagate(named: list[tuple[Row, Row, bool]], links: list[Row]) -> None:
    """Sets every other tool's node's effect on the target logit, and ranks by it; see the module."""
    aims = [entry for entry in named if entry[1]["kind"] == "logit"]
    if not aims:
        raise Mistake("The file has no node of type 'logit', so no node has an effect on anything.")
    aim = max(aims, key=lambda entry: (bool(entry[0].get("is_target_logit")), entry[0].get("token_prob") or 0.0))[1]
    activation = {row["node"]: record.get("activation") for record, row, _ in named}
    into: dict[str, list[Row]] = {}
    for link in links:
        into.setdefault(link["target"], []).append(link)
    effect = _effects(aim["node"], into, activation)
    for _, row, known in named:
        if not known:
            value = effect.get(row["node"], 0.0)
            row |= {"effect": value, "lower": value, "upper": value}
    ranked = sorted((row for _, row, _ in named if row["kind"] != "logit"), key=lambda row: -abs(row["effect"]))
    for place, row in enumerate(ranked, 1):
        row["rank"] = place


def _effects(aim: str, into: Mapping[str, list[Row]], activation: Mapping[str, float | None]) -> dict[str, float]:
    """From the logit down, each target before its sources."""
    order = TopologicalSorter({target: {link["source"] for link in links} for target, links in into.items()})
    effect = {aim: 1.0}
    try:
        ordered = [target for target in order.static_order() if target in into]
    except CycleError as error:
        raise Mistake(f"The links of the file go in a circle, through {', '.join(error.args[1])}.") from error
    for target in reversed(ordered):
        scale = 1.0 if target == aim else (activation.get(target) or 0.0)
        if not effect.get(target) or not scale:
            continue
        for link in into[target]:
            share = link["weight"] / scale * effect[target]
            effect[link["source"]] = effect.get(link["source"], 0.0) + share
    return effect | {aim: sum(link["weight"] for link in into.get(aim, []))}


def _circuit(metadata: Row, tokens: list[str], method: str, ambiguous: int) -> Row:
    """The row of `circuits` for another tool's graph: what it does not say is empty."""
    text = str(metadata.get("prompt", ""))
    return {
        "task": str(metadata.get("slug") or "graph"), "method": method, "metric": "logit", "ablation": "none",
        "model": str(metadata.get("scan") or "unknown"), "dictionaries": {}, "pairs": 1,
        "prompt": {
            "tokens": tokens, "counter_tokens": [], "roles": [str(i) for i in range(len(tokens))], "text": text,
            "counter_text": "", "answer": "", "counter_answer": "",
        },
        "selfcheck": {}, "calibration": {}, "summary": {"intervals": "none: one prompt", "ambiguous_links": ambiguous},
    }  # fmt: skip
