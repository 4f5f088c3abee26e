"""What a person can say on a page, and the saying of it.

1. `face_of_feature` and `face_of` gather what `widgets/judge.js` shows: what this rater has said, and what of the others
   they may see.
2. `perform` writes what was done at once. A sentence that says why something was not written is kept until the next
   drawing (`complaint`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import rater, source
from dashboard.widgets import bits
from dashboard.widgets.tokens import readable
from data import judgement
from data.errors import Mistake
from data.judgement import LONGEST, RATINGS, Statement
from data.queries import of_judgement
from data.words import Feature

Row = Mapping[str, Any]
COMPLAINT = "judging_complaint"
NAMES = {"label": "label", "rating": "rating", "note": "note", "triage": "skip", "list": "list"}


def face_of_feature(who: str, feature: Feature, explanations: Sequence[Row]) -> dict[str, Any]:
    """What `judge.js` shows of a feature; of `explanations` those that failed are left out."""
    given = source.ask(of_judgement.ratings, feature, who) if who else {}
    texts = [e for e in explanations if e["text"]]
    said = of_feature(feature)
    return _face(who, said, str(feature), f"feature {feature}", *(e["explanation"] for e in texts)) | {
        "explanations": [_explanation(e, who, given) for e in texts],
        "unexplained": "It has no explanation to rate; give it a label.",
        "label": next((row["text"] for row in said.labels if row["author"] == who), ""),
        "labels": [[row["author"], readable(row["text"], 200)] for row in said.labels if row["author"] != who],
    }


def of_feature(feature: Feature) -> of_judgement.Said:
    """What people say of a feature."""
    return source.ask(of_judgement.said, str(feature), f"feature {feature}", feature)


def face_of(who: str, subject: str, member: str = "", *more: str) -> dict[str, Any]:
    """What `judge.js` shows of a circuit or node: a note, and the lists that `member` is in. An undo is of these alone,
    and of what `more` names."""
    return _face(who, source.ask(of_judgement.said, subject, member), subject, member, *more)


def _face(who: str, said: of_judgement.Said, subject: str, member: str, *more: str) -> dict[str, Any]:
    notes = said.notes
    things = [thing for thing in (subject, member, *more) if thing]
    standing = source.ask(of_judgement.last, who, *things) if who else None
    return {
        "subject": subject,
        "rater": who,
        "words": list(RATINGS.values()),
        "longest": LONGEST,
        "explanations": [],
        "label": None,
        "labels": [],
        "note": next((row["text"] for row in notes if row["rater"] == who), ""),
        "notes": [[row["rater"], readable(row["text"], 400)] for row in notes if row["rater"] != who],
        "lists": _lists(said) if member else None,
        "undo": told(standing),
        "things": things,
        "keys": False,
        "hidden": False,
    }


def told(standing: Row | None) -> str:
    """What an undo would take back, in a few words."""
    if standing is None:
        return ""
    if standing["count"] > 1:
        return f"{standing['count']} changes of a list"
    value = standing["value"]
    if standing["kind"] == "member":
        return "taking out of a list" if value is None else "putting into a list"
    said = f" “{readable(value, 30)}”" if value and standing["kind"] != "triage" else ""
    return f"{NAMES[standing['kind']]}{said}" + (" taken back" if value is None else "")


def _explanation(e: Row, who: str, given: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    mine = given.get(e["explanation"], {})
    return {
        "id": e["explanation"],
        "text": readable(e["text"], 600),
        "by": f"{e['explainer']}{_worth(e)}",
        "mine": str(mine[who]) if who in mine else "",
        "others": [[name, value] for name, value in sorted(mine.items()) if name != who],
    }


def _worth(e: Row) -> str:
    """The score that stands beside a text, with its control, where the row has one."""
    if e.get("score") is None:
        return ""
    against = f", control {bits.number(e['control'], 2)}" if e.get("control") is not None else ", no control"
    return f" · {e['scorer']} {bits.number(e['score'], 2)}{against}"


def _lists(said: of_judgement.Said) -> dict[str, Any]:
    names = [row["name"] for row in source.ask(of_judgement.lists)]
    return {"known": list(dict.fromkeys(names)), "member": [[row["list"], row["name"]] for row in said.lists]}


def perform(act: Mapping[str, Any], *, member: str = "", about: str = "feature", text: str = "") -> bool:
    """Writes what was done and says whether it could be; `text` is what was rated, `member` what lists hold."""
    try:
        _perform(act, member, about, text)
    except Mistake as mistake:
        st.session_state[COMPLAINT] = str(mistake)
        return False
    return True


def complaint() -> None:
    """Shows why the last act was not written, once."""
    if said := st.session_state.pop(COMPLAINT, None):
        bits.gap(f"It was not saved. {said}")


def _perform(act: Mapping[str, Any], member: str, about: str, text: str) -> None:
    shown, who, subject = source.workspace(), rater.name(), str(act["subject"])
    if act["do"] == "undo":
        judgement.undo(shown, who, *act.get("things", ()))
    elif act["do"] == "list":
        _into(shown, who, str(act["name"]), member)
    else:
        judgement.say(shown, who, _statement(act, subject, member, about, text))


def _statement(act: Mapping[str, Any], subject: str, member: str, about: str, text: str) -> Statement:
    if act["do"] == "note":
        return judgement.note(about, subject, str(act["text"]))
    if act["do"] == "unlist":
        return judgement.member(str(act["list"]), member, inside=False)
    feature = Feature.parse(subject)
    if act["do"] == "label":
        return judgement.label(feature, str(act["text"]))
    if act["do"] == "skip":
        return judgement.skipped(feature)
    return judgement.rating(str(act["explanation"]), str(act["value"]), feature=feature, text=text)


def _into(shown: Any, who: str, title: str, item: str) -> None:
    """Puts `item` into the list of that title, which is made if there is none."""
    title = " ".join(title.split())
    known = {row["name"].casefold(): row["list"] for row in of_judgement.lists(shown)}
    if title.casefold() in known:
        judgement.say(shown, who, judgement.member(known[title.casefold()], item))
    else:
        judgement.create_list(shown, who, title, [item])
