"""Asks an explainer about planted features, and says of each explanation what it is worth as a program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.cases import Case, Explained
from autointerp.ground.corpus import Corpus
from autointerp.ground.executable import recognised, rule_of, worth
from autointerp.ground.planted import Planted
from autointerp.tools import Tools
from data import parts
from data.parts import Choice
from data.runs import Run
from data.store import append

EXPLAINERS = "autointerp.explainers"
FOUND = 0.9
"""F1 from which a rule is found."""


@dataclass(frozen=True)
class Told:
    """One explainer's words about one planted feature, and what they are worth (`ground_explained`)."""

    latent: int
    kind: str
    text: str | None
    error: str | None
    f1: float | None
    control: float | None
    recognised: bool | None


def explain(
    run: Run, explainer: Choice, cases: Sequence[Case], features: Mapping[int, Planted], corpus: Corpus, tools: Tools
) -> None:
    """Has `explainer` explain all `cases`; one row of `ground_explained` each, all at once."""
    found = list(parts.load(EXPLAINERS, explainer.name).explain(cases, tools, explainer.options))
    texts = {one.feature.latent: one.text for one in found if one.text}
    right = [features[latent].rule.text for latent in sorted(features)]
    known = recognised(texts, right, tools.embedder)
    rows = [_row(run, explainer, one, features[one.feature.latent], corpus) for one in found]
    with run.workspace.write() as db:
        append(db, "ground_explained", [row | {"recognised": known.get(row["latent"])} for row in rows])


def _row(run: Run, explainer: Choice, one: Explained, feature: Planted, corpus: Corpus) -> dict[str, Any]:
    rule = rule_of(one)
    empty: dict[str, Any] = dict.fromkeys(("precision", "recall", "f1", "control"))
    return {
        "run": run.run, "method": explainer.label, "kind": feature.kind, "latent": feature.latent, "text": one.text,
        "error": one.error, "rule": json.dumps(rule.record()) if rule else None,
        **(worth(corpus, feature, rule) if rule else empty),
    }  # fmt: skip


def told(run: Run) -> dict[str, list[Told]]:
    """What each explainer told in `run`, in order of the features."""
    query = (
        "select method, latent, kind, text, error, f1, control, recognised from ground_explained where run = ? "
        "order by method, latent"
    )
    with run.workspace.read() as db:
        rows = db.execute(query, [run.run]).fetchall()
    found: dict[str, list[Told]] = {}
    for method, *rest in rows:
        found.setdefault(method, []).append(Told(*rest))
    return found
