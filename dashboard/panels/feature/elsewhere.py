"""The same direction in other dictionaries of the model, and what that tells of a feature's history.

1. `lacewing similar` matches the latents of two dictionaries; its matches are shown first, with their evidence.
2. With any other dictionary of the model the direction is compared here, as far as their files are small enough.
3. Dictionaries of the same site come first, in the order in which they were trained: what changed from one to the next is
   the nearest there is to a history, for a run keeps its checkpoints only until it is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard import decoders, known, look, source, steps
from dashboard.panels import ShownFeature
from dashboard.panels.feature.nearest import said
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, cell, link, row, table
from data.errors import Mistake
from data.words import Feature

PLACE = "below"
ORDER = 9
WIDTH = 0.58
Stored = Mapping[str, Any]
COLUMNS = [
    Column("Dictionary", "line"),
    Column("Trained", "line", "when, and on how many tokens"),
    Column("Nearest", "num"),
    Column("Cosine", "num", "of decoder directions; 0 is chance in many dimensions, the nearest of many is above it"),
]
EVIDENCE = [
    Column("Together", "num", "Jaccard index of the tokens at which both fire, in a common harvest"),
    Column("Correlation", "num", "of activations over all tokens of a common harvest"),
]
"""Shown where `lacewing similar` has been run."""
TEXTS = [Column("Active at", "num"), Column("Explanation", "clip")]
HISTORY = (
    "A run keeps its checkpoints only until it is done, so earlier states of this latent are not stored. "
    "A dictionary trained on fewer tokens with the same seed stands in for one."
)


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    bits.section(
        "In other dictionaries", "its nearest direction in each; those of the same site by age are its history"
    )
    others = _others(shown)
    if not others:
        bits.gap(f"There is no other dictionary of this model. {HISTORY}", steps.command(source.workspace(), "train"))
        return
    matched = _matched(shown)
    found = {one.dictionary: one for one in _compared(shown, [o for o in others if o["dictionary"] not in matched])}
    wanted = (*(m["feature"] for m in matched.values()), *(n.feature for one in found.values() for n in one.nearest))
    texts = known.texts(shown, wanted)
    columns = columns_of(bool(matched))
    rows = [
        row(_cells(other, matched.get(other["dictionary"]), found.get(other["dictionary"]), texts, bool(matched)))
        for other in others
    ]
    table("feature_elsewhere", columns, rows=rows, options=Options("In other dictionaries", height=330))
    bits.gap(
        HISTORY, steps.command(source.workspace(), f"similar {shown.feature.dictionary} {others[0]['dictionary']}")
    )


def columns_of(wide: bool) -> list[Column]:
    """The columns of the table; `wide` where `lacewing similar` has matched something."""
    return [*COLUMNS, *(EVIDENCE if wide else []), *TEXTS]


def _others(shown: ShownFeature) -> list[Stored]:
    """The other dictionaries of the model: those of the same site first."""
    own = shown.feature.dictionary
    found = [row for row in known.about(shown).siblings if row["dictionary"] != own]
    return sorted(found, key=lambda row: row["site"] != shown.record["site"])


def _matched(shown: ShownFeature) -> dict[str, Stored]:
    """The best stored match in each dictionary; mutual ones before those of the best matching."""
    found: dict[str, Stored] = {}
    for one in known.about(shown).matches:
        found.setdefault(one["other"], one | {"feature": Feature(one["other"], one["other_latent"])})
    return found


def _compared(shown: ShownFeature, others: Sequence[Stored]) -> list[decoders.Compared]:
    names = tuple(other["dictionary"] for other in others)
    try:
        return source.ask(decoders.compare, shown.feature, names) if names else []
    except Mistake as mistake:
        return [decoders.Compared(name, problem=f"this dictionary: {mistake}") for name in names]


def _cells(
    other: Stored, match: Stored | None, found: decoders.Compared | None, texts: Mapping[Feature, Stored], wide: bool
) -> list[Any]:
    """One line of the table; `wide` if it has the columns of `EVIDENCE`."""
    about = [link(other["name"], "features", dictionary=other["dictionary"]), cell(_trained(other), tone="quiet")]
    if match:
        beside = [bits.number(match["jaccard"], 2), bits.number(match["correlation"], 2)]
        return [*about, *_near(match["feature"], match["cosine"]), *beside, *_said(texts.get(match["feature"]))]
    if found and found.nearest:
        near = found.nearest[0]
        beside = ["—"] * len(EVIDENCE) if wide else []
        return [*about, *_near(near.feature, near.cosine), *beside, *_said(texts.get(near.feature))]
    problem = cell(f"not compared: {found.problem}" if found else "not compared", tone="quiet")
    return [*about, *["—"] * (len(columns_of(wide)) - 3), problem]


def _near(feature: Feature, cosine: float) -> list[Any]:
    return [link(feature.latent, "feature", **look.query(feature)), cell(bits.signed(cosine, 2), sort=cosine)]


def _said(text: Stored | None) -> list[Any]:
    dense = (
        cell(bits.percent(text["density"], 2), sort=text["density"]) if text else cell("not harvested", tone="quiet")
    )
    return [dense, said(text)]


def _trained(other: Stored) -> str:
    tokens = (other["metrics"] or {}).get("train_tokens")
    when = f"{other['started']:%d %b %Y}" if other["started"] else ""
    return " · ".join(filter(None, [when, f"{tokens:,} tokens" if tokens else ""])) or "—"
