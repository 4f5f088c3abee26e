"""Triage: one feature after the other, by keyboard: look, rate the explanation, go on.

1. The address says what is judged: a list (`list=ID`), the filters of the Features page (`from=`), or all explained
   features; in which `order`; and which `feature` is shown. Without one it is the first that this rater has not judged.
2. Evidence comes first. The explanation is hidden until asked for, so that it does not say what to see.
3. Everything is saved as it is done; an undo leads back to the feature that it is about.
4. `part=agreement` sets two raters side by side: a rating of somebody else is only shown to whoever rated the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import agreement, judging, panels, rater, source, steps, triaged
from dashboard.panels import ShownFeature
from dashboard.widgets import agreeing, bits
from dashboard.widgets.judge import judge
from data import parts, queries
from data.queries import of_judgement
from data.words import Feature

TITLE = "Triage"
ICON = ":material/rate_review:"
GROUP = "Judge"
ORDER = 41
PARTS = ("rate", "agreement")
LEFT = ("examples",)
RIGHT = ("logits",)
"""The panels of the Feature page that are the evidence here."""

Row = Mapping[str, Any]


def render() -> None:
    """Draws the page."""
    chosen = triaged.chosen()
    bits.heading("Triage", detail=chosen.name)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        part = st.segmented_control(
            "Part",
            PARTS,
            default=PARTS[0],
            key="part",
            bind="query-params",
            required=True,
            label_visibility="collapsed",
        )
        if part == "rate":
            triaged.choose(chosen)
        with st.container(width=320):
            who = rater.ask("triage_rater")
    judging.complaint()
    if part == "agreement":
        _agreement(who)
        return
    found = source.ask(of_judgement.queue, who, chosen.features, order=chosen.order)
    if found:
        _one(found, who)
    elif chosen.features is None:
        bits.gap("Nothing can be judged before features are explained.", steps.command(source.workspace(), "explain"))
    else:
        bits.gap("Nothing is in this queue. Choose another list, or other filters on the Features page.")


def _one(found: Sequence[Row], who: str) -> None:
    """The feature shown, with its evidence at the left and what is said of it at the right."""
    place = triaged.place(found)
    if place is None:
        _done(found)
        return
    row = found[place]
    feature = Feature.parse(row["item"])
    shown = ShownFeature(feature, source.ask(queries.feature, feature))
    left, right = st.columns([1.5, 1], gap="large")
    with left:
        bits.link("feature", f"Feature {feature.latent} of {row['site']}", {"feature": row["item"]})
        _evidence(LEFT, shown)
    with right, st.container(key="lw_beside"):  # stays in sight while the evidence is scrolled
        judge("triage_judge", _face(found, place, who), lambda done: _act(done, found, place, who))
        _evidence(RIGHT, shown)


def _evidence(names: Sequence[str], shown: ShownFeature) -> None:
    for name in names:
        panels.one(parts.load("dashboard.panels.feature", name), shown)


def _face(found: Sequence[Row], place: int, who: str) -> dict[str, Any]:
    row, feature = found[place], Feature.parse(found[place]["item"])
    best = [row] if row["text"] else []
    standing = source.ask(of_judgement.last, who, *triaged.things(found)) if who else None
    queue = {
        "place": place + 1, "total": len(found), "handled": sum(r["handled"] for r in found), "reason": row["reason"],
    }  # fmt: skip
    return judging.face_of_feature(who, feature, best) | {
        "queue": queue, "keys": True, "hidden": row["text"] is not None and not row["rating"], "things": [],
        "undo": judging.told(standing), "lists": None,
    }  # fmt: skip


def _act(done: Mapping[str, Any], found: Sequence[Row], place: int, who: str) -> None:
    """Writes what was done, and the feature that comes next to the address."""
    what = done["do"]
    # A fast key can come before the page has moved on: it is about the feature that the person saw.
    place = next((n for n, row in enumerate(found) if row["item"] == done["subject"]), place)
    if what == "undo":
        things = triaged.things(found)
        standing = of_judgement.last(source.workspace(), who, *things)
        if judging.perform({**done, "things": things}) and standing:
            triaged.show(triaged.about(standing, found) or found[place]["item"])
    elif what in ("back", "next"):
        triaged.show(found[(place + (1 if what == "next" else -1)) % len(found)]["item"])
    else:
        saved = judging.perform(done, text=found[place]["text"] or "")
        if saved and what in ("rate", "skip"):
            triaged.show(triaged.after(found, place))


def _done(found: Sequence[Row]) -> None:
    rated, skipped = sum(bool(r["rating"]) for r in found), sum(r["decision"] is not None for r in found)
    bits.gap(f"All {len(found):,} features of this queue are judged: {rated:,} rated, {skipped:,} skipped.")
    with st.container(horizontal=True, gap="medium"):
        bits.link("triage", "look at them again", triaged.query(feature=found[0]["item"]))
        bits.link("triage", "compare with a second rater", triaged.query(part="agreement"))
        bits.link("lists", "lists", {})


def _agreement(who: str) -> None:
    known = source.ask(of_judgement.raters)
    bits.section("Agreement", "of two raters on the explanations that both rated")
    if len(known) < 2:
        already = f"{known[0]['rater']} rated {known[0]['rated']:,}" if known else "nobody has rated yet"
        bits.gap(f"It takes two raters; {already}. A second one opens this page in another browser and rates the same.")
        return
    names = [row["rater"] for row in known]
    first, second = triaged.pair(names, who)
    rows = source.ask(of_judgement.rated_by_both, first, second)
    agreeing.shown(agreement.agreement([r["one"] for r in rows], [r["other"] for r in rows]), first, second)
    visible = rows if who in (first, second) else [r for r in rows if r["explanation"] in _rated(who)]
    agreeing.disagreements(visible, first, second, hidden=len(rows) - len(visible))


def _rated(who: str) -> set[str]:
    return source.ask(of_judgement.rated, who) if who else set()
