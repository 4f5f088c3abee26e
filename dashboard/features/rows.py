"""Features as rows of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard import look
from dashboard.widgets import bits
from dashboard.widgets.table import Column, cell, effect, link, row
from dashboard.widgets.tokens import readable
from data.queries.of_features import DENSE
from data.words import Feature

COLUMNS = (
    Column("Feature", "mono line", "dictionary and latent", order="latent"),
    Column("Site", "line"),
    Column("Density", "num", "share of tokens at which it is active", order="density"),
    Column("Max act.", "num", "the largest activation in the harvest", order="max activation"),
    Column("Circ.", "num", "circuits that it is a node of", order="circuits"),
    Column("Effect", "num", "largest |effect| of its nodes", order="effect"),
    Column(
        "Label or explanation", "clip", "a person's label if there is one, else the explanation with the best score"
    ),
    Column(
        "Score", "num", "the best score's value, an AUROC where there is one; grey without a control", order="score"
    ),
    Column(
        "Above control",
        "num",
        "score minus that of another feature's explanation on the same windows",
        order="above control",
    ),
)


def feature(record: Mapping[str, Any]) -> Feature:
    """The feature of a record."""
    return Feature(record["dictionary"], record["latent"])


def rows(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each record of `queries.features`."""
    top = max((f["max_activation"] for f in found), default=0.0)
    return [_row(f, top) for f in found]


def _row(f: Mapping[str, Any], top: float) -> dict[str, Any]:
    name = feature(f)
    query = look.query(name)
    cells = [
        link(f"{f['dictionary'][:6]}/{f['latent']}", "feature", **query),
        f["site"],
        density(f["density"]),
        cell(
            bits.number(f["max_activation"], 2), bar=f["max_activation"] / top if top else 0.0, raw=f["max_activation"]
        ),
        f["circuits"] or "",
        cell(bits.number(f["effect"], 3) if f["effect"] is not None else "", raw=f["effect"]),
        said(f),
        score(f),
        effect(f["difference"], digits=2) if f["difference"] is not None else cell("", raw=""),
    ]
    return row(cells, str(name), ("feature", query))


def density(value: float) -> dict[str, Any]:
    """A density, marked where the feature is dead or dense."""
    if value == 0:
        return cell("dead", tone="negative", title="never active in the harvest", raw=0)
    if value > DENSE:
        return cell(f"dense {bits.percent(value, 1)}", tone="state", title="too common to mean one thing", raw=value)
    return cell(bits.percent(value, 3), raw=value)


def said(f: Mapping[str, Any]) -> dict[str, Any]:
    """A person's label, or else the explanation."""
    if look.hidden():
        return cell("kept back" if f["text"] or f["label"] else "", tone="quiet")
    explained = readable(f["text"], 600) if f["text"] else ""
    if f["label"]:
        text = f"{readable(f['label'], 140)} (label by {readable(f['author'], 40)})"
        return cell(text, title=explained, raw=readable(f["label"], 600))
    return (
        cell(explained[:180], title=explained, raw=explained)
        if explained
        else cell("not explained", tone="quiet", raw="")
    )


def score(f: Mapping[str, Any]) -> dict[str, Any]:
    """A score, grey without a control, marked where scorers contradict each other."""
    if f["score"] is None:
        return cell("", raw="")
    text = f"{bits.number(f['score'], 2)}{' ≠' if f['contested'] else ''}"
    by = f"by {f['scorer']}" + ("; contested: scorers contradict each other" if f["contested"] else "")
    if f["control"] is None:
        return cell(text, tone="grey", title=f"{by}; no control: this cannot be told from chance", raw=f["score"])
    return cell(text, title=by, raw=f["score"])
