"""Explanations: what was said of a feature, every score of it beside its control, and the windows that contradict it.

1. A table of scores under each explanation; what qualifies a score unfolds beneath it (`widgets/scores.py`).
2. The rule beside an explanation is the best list of words or pattern found for the feature: an explanation must add to it.
3. The address names the windows that are shown (`judged=EXPLANATION:SCORER`, or `:counterexamples`).
4. With `hide=1` no text is shown until one has looked at the examples: what is read first colours what is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from autointerp.rule import Rule
from dashboard import evidence, known, look, source, steps
from dashboard.evidence import Around, Example
from dashboard.panels import ShownFeature
from dashboard.verdicts import Verdict, verdicts
from dashboard.widgets import bits, scores, tokens
from dashboard.widgets.examples import Block, Manner, Row, examples
from data.errors import Mistake
from data.queries import of_explanations
from data.store import Workspace
from data.words import Feature

PLACE = "right"
ORDER = 10
SHOWN = 8
"""Windows judged right, and as many wrong, that are shown of a scorer."""
COUNTER = "counterexamples"
Stored = Mapping[str, Any]


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    bits.section("Explanations", "grey: a score without a control cannot be told from chance")
    about = known.about(shown)
    if not about.explanations:
        bits.gap("This feature has not been explained yet.", _command("explain", shown.feature))
        return
    if look.hidden():
        _kept_back(about)
        return
    for explanation in about.explanations:
        mine = [s for s in about.scores if s["explanation"] == explanation["explanation"]]
        against = [c for c in about.counterexamples if c["explanation"] == explanation["explanation"]]
        st.html(_said(explanation))
        if explanation["text"]:
            _worth(shown, explanation, mine, against)


def _command(verb: str, feature: Feature) -> str:
    return steps.command(source.workspace(), f"{verb} --features {feature}")


def _kept_back(about: of_explanations.About) -> None:
    many, scored = len(about.explanations), len(about.scores)
    bits.gap(f"Kept back until you have looked: {many} explanation{'s' if many > 1 else ''}, {scored} scores.")
    st.button("Show explanations", key="show_explanations", on_click=look.turn, args=("hide",))


# One explanation -----------------------------------------------------------------------------------------------------


def _said(explanation: Stored) -> str:
    """The explanation as a card: its text or why there is none, who made it, and the rule beside it."""
    made = [f"by {explanation['explainer']}", f"run {explanation['run']}"]
    if explanation["error"]:
        state = explanation["state"] or explanation["error"].partition(":")[0]
        made.insert(0, tokens.readable(state))
        said = f"No explanation: {tokens.readable(explanation['error'], 300)}"
    else:
        said = tokens.readable(explanation["text"], 600)
    marks = "".join(f'<span class="lw-badge">{bits.escape(mark)}</span>' for mark in _marks(explanation))
    kind = "lw-explanation lw-failed" if explanation["error"] else "lw-explanation"
    small = f"<small>{bits.escape(' · '.join(made))}</small>"
    return f'<div class="{kind}"><p>{bits.escape(said)}</p>{small}{marks}{_rule(explanation)}</div>'


def _marks(explanation: Stored) -> list[str]:
    found = []
    if explanation["fits"]:
        found.append(f"contested: fits by {', '.join(explanation['fits'])}, not by {', '.join(explanation['misfits'])}")
    if explanation["same"]:
        many = explanation["same"]
        found.append(f"the same words are said of {many:,} other feature{'s' if many > 1 else ''}")
    return found


def _rule(explanation: Stored) -> str:
    """The best rule of the feature: how well it tells firings from the rest, at the feature's own rate."""
    if not explanation["rule"]:
        return ""
    try:
        text = Rule.of(explanation["rule"]).text
    except Mistake:
        text = f"a rule of a kind that this lacewing does not know ({explanation['rule'].get('kind')})"
    names = {"precision": "precision", "recall": "recall", "rule_f1": "F1", "rule_control": "another feature's F1"}
    told = [f"{name} {bits.interval(explanation, key)}" for key, name in names.items() if explanation[key] is not None]
    said = f"Best rule: {tokens.readable(text, 300)}"
    return f'<div class="lw-rule">{bits.escape(said)}<span>{bits.escape(" · ".join(told))}</span></div>'


def _worth(shown: ShownFeature, explanation: Stored, mine: Sequence[Stored], against: Sequence[Stored]) -> None:
    """Its scores, and the windows behind one of them."""
    key = explanation["explanation"]
    if mine:
        st.html(scores.table(mine, f"Scores of: {tokens.readable(explanation['text'], 80)}"))
    else:
        bits.gap("This explanation has not been scored yet.", steps.command(source.workspace(), "score"))
    judged = {s["scorer"]: found for s in mine if (found := verdicts((s["details"] or {}).get("windows") or []))}
    titles = {name: _count(name, found) for name, found in judged.items()}
    if against:
        titles[COUNTER] = f"{len(against)} counter-examples"
    chosen = st.query_params.get("judged", "")
    with st.container(horizontal=True, gap="small", key=f"windows_{key}"):
        for name, title in titles.items():
            _switch(f"{key}:{name}", title, chosen)
    name = chosen.removeprefix(f"{key}:")
    if chosen == f"{key}:{COUNTER}" and against:
        _counterexamples(shown, against)
    elif chosen.startswith(f"{key}:") and name in judged:
        _windows(shown, name, judged[name])


def _count(name: str, found: Sequence[Verdict]) -> str:
    right = sum(v.right for v in found)
    return f"{name}: {right} right, {len(found) - right} wrong"


def _switch(name: str, title: str, chosen: str) -> None:
    """A button that shows the windows `name`, or hides them again."""
    label = bits.escape_markdown(f"{'▾' if name == chosen else '▸'} {title}")
    value = "" if name == chosen else name
    st.button(label, key=f"judged_{name}", type="tertiary", on_click=look.put, args=("judged", value))


# Its windows ---------------------------------------------------------------------------------------------------------


def _windows(shown: ShownFeature, scorer: str, found: Sequence[Verdict]) -> None:
    """Some of the windows a scorer judged, the wrong ones first."""
    wrong, right = ([v for v in found if v.right == kind][:SHOWN] for kind in (False, True))
    cut = _cut(
        shown, shown.record["statistics"].get("harvest"), [(v.document, v.start, v.length) for v in wrong + right]
    )
    rows = [_verdict(v, e) for v, e in zip(wrong + right, cut, strict=False)]
    bad, good = (tuple(rows[at]) for at in (slice(len(wrong)), slice(len(wrong), None)))
    _shown(shown, f"Windows judged by {scorer}", [
        Block("judged wrong", (f"{sum(not v.right for v in found)} in all",), bad, "It judged none wrong."),
        Block("judged right", (f"{sum(v.right for v in found)} in all",), good, "It judged none right."),
    ])  # fmt: skip


def _verdict(verdict: Verdict, example: Example) -> Row:
    said = "active" if verdict.said else "silent"
    return Row(example, "right" if verdict.right else "wrong", "right" if verdict.right else "wrong", f"it said {said}")


def _counterexamples(shown: ShownFeature, against: Sequence[Stored]) -> None:
    """Windows that a search found to contradict the explanation."""
    names = {"silent": "the text fits, the feature is silent", "missed": "the feature fires, the text does not fit"}
    newest = [row for row in against if row["run"] == against[0]["run"]]
    blocks = []
    for kind, title in names.items():
        some = [row for row in newest if row["kind"] == kind][:SHOWN]
        cut = _cut(shown, newest[0]["harvest"], [(row["document"], row["start"], row["length"]) for row in some])
        rows = tuple(
            Row(e, note=f"{row['scorer']} {bits.number(row['judgement'], 3)}")
            for row, e in zip(some, cut, strict=False)
        )
        blocks.append(Block(title, (), rows, "The search found none."))
    _shown(shown, "Counter-examples", blocks)


def _cut(shown: ShownFeature, harvest: str | None, places: Sequence[tuple[int, int, int]]) -> list[Example]:
    """The windows at (document, start, length); empty, and said why, when they cannot be read."""
    try:
        return source.ask(_read, shown.feature, harvest, tuple(places))
    except evidence.UNREADABLE as error:
        bits.gap(f"The windows cannot be read: {error}", steps.command(source.workspace(), "harvest"))
        return []


def _read(
    workspace: Workspace, feature: Feature, harvest: str | None, places: Sequence[tuple[int, int, int]]
) -> list[Example]:
    around = Around(workspace, feature, harvest)
    return [around.cut(*place) for place in places]


def _shown(shown: ShownFeature, label: str, blocks: Sequence[Block]) -> None:
    manner = Manner(label, shown.record["max_activation"], look.is_on("breaks"))
    examples("judged_windows", blocks, manner, lambda place: look.put("open", place))
