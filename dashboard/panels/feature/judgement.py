"""Judgement: what you say of a feature (a label, ratings, a note, lists), saved as you say it, and the label scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import evidence, judging, known, look, rater, source, steps
from dashboard.panels import ShownFeature
from dashboard.widgets import bits, job
from dashboard.widgets.examples import Block, Manner, Row, examples
from dashboard.widgets.judge import judge
from dashboard.widgets.tokens import readable
from data.queries import of_judgement
from data.store import Workspace
from data.words import Feature

PLACE = "right"
ORDER = 15
SHOWN = 6
"""False positives, and as many misses, that are shown of a label."""
MISTAKES = {
    "false_positives": ("would fire, is silent", "the label fits these windows, the feature does not fire in them"),
    "misses": ("fires, would be missed", "the feature fires in these windows, the label does not fit them"),
}


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    feature = shown.feature
    # What is kept back above is kept back here: a rating, or a colleague's label, would give it away.
    explanations = [] if look.hidden() else known.about(shown).explanations
    bits.section("Your judgement", "saved as you go; others' ratings show once you have rated")
    judging.complaint()
    who = rater.ask("feature_rater")
    texts = {e["explanation"]: e["text"] or "" for e in explanations}

    def act(done: Mapping[str, Any]) -> None:
        judging.perform(done, member=f"feature {feature}", text=texts.get(str(done.get("explanation")), ""))

    face = judging.face_of_feature(who, feature, explanations)
    if look.hidden():
        face |= {"labels": [], "notes": [], "unexplained": "Explanations are rated once they are shown."}
    judge("feature_judge", face, act)
    if who and face["label"]:
        _worth(shown, who, face["label"])


def _worth(shown: ShownFeature, who: str, label: str) -> None:
    """What the label is worth, once it has been scored."""
    found = [f for f in source.ask(of_judgement.rescored, shown.feature) if (f["details"] or {}).get("text") == label]
    newest = [f for f in found if f["run"] == found[0]["run"]]
    if newest:
        _scores(newest)
        with st.expander("What your label would get wrong"):
            _mistakes(shown, newest[0])
    else:
        words = [f"--author={who}", "--", str(shown.feature), label]
        job.offer("relabel", "Score your label", "relabel", words, note="seconds where windows were scored before")


def _scores(found: Sequence[Mapping[str, Any]]) -> None:
    """A line for each scorer: the label beside the present one and beside another feature's, on the same windows."""
    lines = "".join(f'<div class="lw-line">{_score(f)}</div>' for f in found)
    st.html(f'<div aria-label="Scores of your label">{lines}</div>')


def _score(found: Mapping[str, Any]) -> str:
    name = bits.escape(found["measure"].removeprefix("AUROC by "))
    if found["error"]:
        return f"<b>{name}</b> could not judge it: {bits.escape(readable(found['error'], 200))}"
    swapped = (found["details"] or {}).get("swapped")
    control = bits.interval(dict(zip(("value", "lower", "upper"), swapped, strict=True))) if swapped else "none"
    parts = [f"another feature's label {control}"]
    if found["control"] is not None:
        parts += [
            f"present label {bits.interval(found, 'control')}",
            f"difference {bits.interval(found, 'difference')}",
        ]
    rest = bits.escape(" · ".join([*parts, f"{found['trials']} windows"]))
    return f'<b>{name}</b> your label {bits.escape(bits.interval(found))} <span class="lw-note">{rest}</span>'


def _mistakes(shown: ShownFeature, found: Mapping[str, Any]) -> None:
    record, details = shown.record, found["details"] or {}
    blocks = []
    for kind, (name, why) in MISTAKES.items():
        windows = details.get(kind) or []
        places = tuple((w["document"], w["start"], w["length"]) for w in windows[:SHOWN])
        try:
            cut = source.ask(_cut, shown.feature, record["statistics"].get("harvest"), places)
        except (*evidence.UNREADABLE, KeyError) as error:
            bits.gap(f"The windows cannot be read: {error}", steps.command(source.workspace(), "harvest"))
            return
        rows = tuple(Row(example, tone="wrong") for example in cut)
        blocks.append(Block(name, (f"{len(windows)} of {found['trials']} windows", why), rows, "none"))
    manner = Manner("What the label gets wrong", record["max_activation"])
    examples("relabelled_windows", blocks, manner, lambda _: None)


def _cut(
    workspace: Workspace, feature: Feature, harvest: str | None, places: Sequence[tuple[int, int, int]]
) -> list[evidence.Example]:
    around = evidence.Around(workspace, feature, harvest)
    return [around.cut(*place) for place in places]
