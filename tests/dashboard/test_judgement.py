"""What people say of features: nothing is lost, everything can be undone, and nobody sees a rating too early."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from data import judgement
from data.errors import Mistake
from data.judgement import label, listed, member, note, rating, say, skipped, undo
from data.queries import of_judgement
from data.store import Workspace, append
from data.words import Feature

FEATURE = Feature("0123456789abcdef", 7)
HOSTILE = "<script>document.title='owned'</script>"


@pytest.fixture
def explained(workspace: Workspace) -> Workspace:
    """Three features of one dictionary with an explanation each; a row of every table that `queue` joins."""
    with workspace.write() as db:
        db.execute("insert into dictionaries values ('d', 'd', 'm', 'resid_post:3', 3, 'topk', 64, 'r', '{}')")
        for n in range(4):
            db.execute("insert into features values ('d', ?, 0.1, ?, '{}')", [n, 1.0 + n])
        base = {"dictionary": "d", "explainer": "lift", "run": "r"}
        rows = [base | {"explanation": f"e{n}", "latent": n, "text": f"text {n}"} for n in range(3)]
        append(db, "explanations", rows)
        scored = [("e0", 0.3, 0.2, 0.4), ("e1", 0.05, -0.1, 0.2)]
        append(db, "scores", [
            {"explanation": e, "scorer": "embedding", "value": 0.8, "control": 0.5, "difference": d,
             "difference_lower": low, "difference_upper": high, "trials": 30, "run": "r"}
            for e, d, low, high in scored
        ])  # fmt: skip
    return workspace


def rate(workspace: Workspace, who: str, explanation: str, value: str) -> None:
    say(workspace, who, rating(explanation, value, feature=Feature("d", 0), text="text"))


def test_a_label_stands_once_for_each_author_and_undo_brings_the_older_one_back(workspace: Workspace) -> None:
    say(workspace, "ada", label(FEATURE, "  plural\n nouns "))
    say(workspace, "bob", label(FEATURE, "nouns"))
    say(workspace, "ada", label(FEATURE, "plurals"))
    assert {row["author"]: row["text"] for row in of_judgement.labels(workspace, FEATURE)} == {
        "ada": "plurals", "bob": "nouns",
    }  # fmt: skip
    undone = undo(workspace, "ada")
    assert undone
    assert (undone.kind, undone.value, undone.count) == ("label", "plurals", 1)
    assert of_judgement.labels(workspace, FEATURE)[0]["text"] == "plural nouns"
    assert undo(workspace, "ada")
    assert [row["author"] for row in of_judgement.labels(workspace, FEATURE)] == ["bob"]
    assert undo(workspace, "ada") is None
    assert undo(workspace, "bob")
    assert of_judgement.labels(workspace, FEATURE) == []


def test_nothing_leaves_the_history(workspace: Workspace) -> None:
    for value in ("1", "4"):
        rate(workspace, "ada", "e0", value)
    undo(workspace, "ada")
    with workspace.read() as db:
        found = db.execute("select value, replaces, undoes is not null from judgements order by number").fetchall()
    assert found == [("1", None, False), ("4", 1, False), ("1", 2, True)]


def test_undo_of_one_subject_leaves_the_others(workspace: Workspace) -> None:
    say(workspace, "ada", note("feature", str(FEATURE), "first"))
    say(workspace, "ada", note("circuit", "c1", "second"))
    assert undo(workspace, "ada", str(FEATURE))
    assert of_judgement.notes(workspace, str(FEATURE)) == []
    assert of_judgement.notes(workspace, "c1")[0]["text"] == "second"
    shown = of_judgement.last(workspace, "ada")
    assert shown
    assert shown["subject"] == "c1"


def test_an_act_of_many_statements_is_undone_at_once(workspace: Workspace) -> None:
    name = judgement.create_list(workspace, "ada", "Plurals", [f"feature d/{n}" for n in range(5)])
    say(workspace, "bob", member(name, "circuit c1"), member(name, "feature d/2", inside=False))
    assert of_judgement.members(workspace, name) == [*(f"feature d/{n}" for n in (0, 1, 3, 4)), "circuit c1"]
    assert undo(workspace, "bob")
    assert set(of_judgement.members(workspace, name)) == {f"feature d/{n}" for n in range(5)}
    told = of_judgement.last(workspace, "ada", "feature d/2")
    assert told
    assert told["count"] == 6  # an undo from that feature's page takes back the whole act, and says so
    undone = undo(workspace, "ada", "feature d/2")
    assert undone
    assert undone.count == 6
    assert of_judgement.lists(workspace) == []


def test_a_deleted_list_comes_back_whole(workspace: Workspace) -> None:
    name = judgement.create_list(workspace, "ada", "Plurals", ["feature d/1", "circuit c"])
    say(workspace, "ada", listed(name, "Nouns"))
    say(workspace, "ada", listed(name, None))
    with pytest.raises(Mistake, match="There is no list .* comes back with undo"):
        of_judgement.list_of(workspace, name)
    undo(workspace, "ada")
    row = of_judgement.list_of(workspace, name)
    assert (row["name"], row["features"], row["circuits"]) == ("Nouns", 1, 1)
    assert of_judgement.said(workspace, "d/1", "feature d/1").lists == [{"list": name, "name": "Nouns"}]


def test_a_rating_is_hidden_until_one_has_rated_oneself(explained: Workspace) -> None:
    feature = Feature("d", 0)
    rate(explained, "ada", "e0", "2")
    assert of_judgement.ratings(explained, feature, "bob") == {}
    rate(explained, "bob", "e0", "5")
    assert of_judgement.ratings(explained, feature, "bob") == {"e0": {"ada": 2, "bob": 5}}
    undo(explained, "bob")
    assert of_judgement.ratings(explained, feature, "bob") == {}
    assert of_judgement.rated_by_both(explained, "ada", "bob") == []


def test_the_queue_begins_with_what_is_least_certain(explained: Workspace) -> None:
    found = of_judgement.queue(explained, "ada")
    assert [(row["latent"], row["reason"]) for row in found] == [
        (1, "the interval above the control holds 0"), (2, "no score with a control"), (0, "the nearest to its control"),
    ]  # fmt: skip
    say(explained, "ada", skipped(Feature("d", 1)))
    rate(explained, "ada", "e2", "3")
    assert [row["handled"] for row in of_judgement.queue(explained, "ada")] == [True, True, False]
    assert [row["handled"] for row in of_judgement.queue(explained, "bob")] == [False] * 3
    given = of_judgement.queue(explained, "ada", ("d/3", "d/0", "d/999"), order="given")
    assert [(row["latent"], row["text"]) for row in given] == [(3, None), (0, "text 0")]


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: rating("e", "6", feature=FEATURE, text=""), "A rating is 1 to 5, not '6'"),
        (lambda: label(FEATURE, "x" * 501), "This label has 501 characters; 500 are the most"),
        (lambda: listed("l", "   "), "A list cannot be empty"),
        (lambda: member("l", "node 3"), "'node 3' is no member of a list; write 'feature DICTIONARY/LATENT'"),
        (lambda: note("explanation", "e", "x"), "There is no subject of a note 'explanation'"),
        (lambda: judgement.rater(" \u202e "), "A rater's name has 1 to 40 characters"),
    ],
)
def test_what_cannot_be_said_is_a_sentence(act: Callable[[], object], sentence: str) -> None:
    with pytest.raises(Mistake) as said:
        act()
    assert sentence in str(said.value)


WRITER = """
import sys
from pathlib import Path
from data.judgement import label, note, say
from data.store import Workspace
from data.words import Feature
workspace = Workspace(Path(sys.argv[1]))
for n in range(6):
    say(workspace, sys.argv[2], label(Feature("d", n), f"{sys.argv[2]} {n}"), note("feature", f"d/{n}", "seen"))
"""


def test_two_processes_lose_nothing(workspace: Workspace) -> None:
    names = ("ada", "bob")
    command = [sys.executable, "-c", WRITER, str(workspace.folder)]
    writers = [subprocess.Popen([*command, name]) for name in names]
    for n in range(3):
        say(workspace, "cid", note("circuit", f"c{n}", HOSTILE))
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with workspace.read() as db:
        counts = dict(db.execute("select rater, count(*) from judgements group by 1").fetchall())
        [(numbers, most)] = db.execute("select count(distinct number), max(number) from judgements").fetchall()
        [(labels,)] = db.execute("select count(*) from labels").fetchall()
    assert counts == {"ada": 12, "bob": 12, "cid": 3}
    assert numbers == most == 27
    assert labels == 12
