"""Notes: what you say of the circuit, or of the node that is selected; and the lists that hold the circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard import judging, rater, source
from dashboard.panels import ShownCircuit
from dashboard.widgets import bits
from dashboard.widgets.judge import judge
from data.queries import of_judgement
from data.words import Feature

PLACE = "side"
ORDER = 30


def render(shown: ShownCircuit) -> None:
    """Draws the panel."""
    circuit = shown.circuit["circuit"]
    node = next((n for n in shown.nodes if n["node"] == shown.selected), None)
    bits.section("Notes", f"on {node['node']}" if node else "on this circuit")
    judging.complaint()
    who = rater.ask("circuit_rater")
    if node is None:
        item = f"circuit {circuit}"
        judge("circuit_judge", judging.face_of(who, circuit, item), lambda done: _act(done, "circuit", item))
        return
    subject = f"{circuit} {node['node']}"
    judge("node_judge", judging.face_of(who, subject), lambda done: _act(done, "node", ""))
    if node["kind"] == "latent" and node["dictionary"]:
        _label(Feature(node["dictionary"], node["latent"]), who)


def _label(feature: Feature, who: str) -> None:
    """The label of the node's feature, which is the same wherever the feature stands."""
    named = [row for row in source.ask(of_judgement.labels, feature) if row["text"]]
    bits.section("Label", f"of feature {feature.latent}, wherever it stands" + ("" if named else "; nobody gave one"))
    face = judging.face_of_feature(who, feature, []) | {"unexplained": "", "words": []}
    judge("node_label", face, lambda done: _act(done, "feature", f"feature {feature}"))


def _act(done: Mapping[str, Any], about: str, member: str) -> None:
    judging.perform(done, member=member, about=about)
