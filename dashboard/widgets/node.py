"""The pane beside the graph: one node with its evidence and the edges into and out of it.

A click on an edge walks the graph: the node at its other end becomes the selected one, and the address says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import evidence, source, steps
from dashboard.evidence import Around, Asked, Example
from dashboard.widgets import bits, graph, tokens
from dashboard.widgets.table import Column, Options, cell, effect, row, table
from data.queries import of_features
from data.queries.of_graph import Graph
from data.store import Workspace
from data.words import Feature

Row = Mapping[str, Any]
LISTED = 60
KINDS = {
    "error": "The part of the activation that the dictionary does not reconstruct.",
    "logit": "The metric itself: the logits at the last position.",
    "token": "The embedding of the token.",
}
SHARE = "of the sum of |weights| of all stored edges into the target"


def detail(chosen: Row, whole: Graph, *, circuit: Row, pick: Callable[[str], None]) -> None:
    """Draws the pane for `chosen`, a node of `whole`."""
    bits.section(chosen["node"], f"rank {chosen['rank']} · {chosen['role']}")
    total = (circuit["summary"] or {}).get("total_effect")
    exact = chosen["verified"] is not None
    bits.figures(
        [
            ("Estimated effect", bits.signed(chosen["effect"]), graph.bracket(chosen)),
            (
                "Exact effect",
                bits.signed(chosen["verified"]),
                (graph.bracket(chosen, "verified") or "no interval") if exact else "not verified",
            ),
            ("Of the total", bits.percent(chosen["effect"] / total) if total else "—", "estimated"),
            *_certainty(chosen),
        ]
    )
    _meaning(chosen)
    for end, title in (("source", "Comes from"), ("target", "Goes to")):
        which = whole.touching(chosen["node"], "target" if end == "source" else "source")
        other = getattr(whole.edges, end)[which]
        pairs = [
            (whole.nodes[number]["node"], effect)
            for number, effect in zip(other.tolist(), whole.edges.effect[which].tolist(), strict=True)
            if number >= 0
        ]
        flows(title, end, pairs, whole, of=[chosen["node"]], pick=pick)


def _certainty(chosen: Row) -> list[tuple[str, str, str]]:
    """What is stored of how sure the node is of its place, and whether a first-order estimate may be trusted."""
    found = []
    if chosen.get("inclusion") is not None:
        found.append(("In resampled circuits", bits.percent(chosen["inclusion"], 0), "inclusion probability"))
    if chosen.get("sign_agreement") is not None:
        spread = chosen.get("mean_absolute")
        note = "of the pairs" if spread is None else f"of the pairs; mean |effect| {bits.number(spread)}"
        found.append(("Same sign", bits.percent(chosen["sign_agreement"], 0), note))
    if chosen.get("second_order") is not None:
        note = "too large: do not trust the estimate" if chosen.get("unreliable") else "beside the first"
        found.append(("Second order", bits.percent(chosen["second_order"], 0), note))
    return found


def _meaning(chosen: Row) -> None:
    if chosen["kind"] != "latent":
        _plain(KINDS.get(chosen["kind"], f"A {chosen['kind']} of the model, as it is: no dictionary explains it."))
        return
    if not chosen["dictionary"]:
        _plain(chosen["text"] or "Its dictionary is not in this workspace, so nothing more is known of it.")
        return
    feature = Feature(chosen["dictionary"], chosen["latent"])
    if chosen["text"]:
        both = f"score {bits.number(chosen['score'], 2)}, swapped {bits.number(chosen['control'], 2)}"
        score = "not scored" if chosen["score"] is None else both
        score = f"a label by {chosen['label_author']}" if chosen["label"] else score
        said = f"<p>{bits.escape(tokens.readable(chosen['text'], 400))}</p><small>{bits.escape(score)}</small>"
        st.html(f'<div class="lw-explanation">{said}</div>')
    else:
        _plain("Not explained yet.")
    bits.link(
        "feature",
        f"Feature {feature.latent} of {chosen['site']}: all of its evidence, its label, ratings",
        {"feature": str(feature)},
        icon=":material/target:",
    )
    _examples(feature, chosen)


def _plain(text: str) -> None:
    st.html(f'<div class="lw-explanation lw-failed"><p>{bits.escape(text)}</p></div>')


def _examples(feature: Feature, chosen: Row) -> None:
    if chosen["max_activation"] is None:
        bits.gap("No examples: the feature was not harvested.", steps.command(source.workspace(), "harvest"))
        return
    try:
        found = source.ask(_strongest, feature)
    except evidence.UNREADABLE as error:
        bits.gap(f"No examples: {error}")
        return
    if not found:
        bits.gap("The feature never fired in the harvest.")
        return
    lines = (tokens.window(e.tokens, e.values, chosen["max_activation"]) for e in found)
    st.html("".join(f'<div class="lw-text lw-line">{line}</div>' for line in lines))


def _strongest(workspace: Workspace, feature: Feature) -> list[Example]:
    """The strongest examples, in little text; none when the feature never fires."""
    harvest = of_features.harvest(workspace, feature)
    groups = evidence.active(Around(workspace, feature, harvest), Asked(harvest, context=16))
    return list(groups[0].examples[:4]) if groups else []


def flows(
    title: str,
    end: str,
    pairs: Sequence[tuple[str, float]],
    whole: Graph,
    *,
    pick: Callable[[str], None],
    of: Sequence[str],
    groups: Sequence[Mapping[str, Any]] = (),
) -> None:
    """What comes from or goes to `of`, nodes, at other nodes or `groups`, each with its share of its target's input.

    The share is of the sum of the sizes of all edges into the target's nodes.
    """
    bits.section(title, f"{len(pairs):,} {'edge' if len(pairs) == 1 else 'edges'}, by size")
    if not pairs:
        return
    known, top = {g["id"]: g for g in groups}, abs(pairs[0][1])
    columns = [
        Column("Node", "mono line"),
        Column("Explanation", "clip"),
        Column("Weight", "num"),
        Column("Share", "num", SHARE),
    ]
    rows = []
    for name, weight in pairs[:LISTED]:
        group = known.get(name)
        target = of if end == "source" else group["nodes"] if group else [name]
        into = float(whole.inputs[[whole.numbers[node] for node in target]].sum())
        share = bits.percent(abs(weight) / into, 0) if into else "—"
        text = group["name"] if group else _text(whole.nodes[whole.numbers[name]])
        cells = [cell(name, title=name), cell(text, tone="quiet"), effect(weight, top), cell(share, tone="quiet")]
        rows.append(row(cells, name))
    note = f"the strongest {LISTED} of {len(pairs):,}" if len(pairs) > LISTED else ""
    table(f"edges_{end}", columns, rows=rows, options=Options(title, sort=False, height=170, note=note), pick=pick)


def _text(node: Row | None) -> str:
    return tokens.readable(node["text"], 70) if node and node.get("text") else ""
