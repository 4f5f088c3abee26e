"""Search: what is found and in which order, sentence vectors on disk, and the page with an engine that answers at once."""

from __future__ import annotations

import datetime
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Shown  # pyright: ignore
from generated import BIDI, HOSTILE, IMAGE, Made
from hypothesis import given
from hypothesis import strategies as st

from dashboard import asking, searching, vectors
from dashboard.engine.operations import index
from dashboard.widgets.hits import marked
from data import views
from data.errors import Mistake
from data.queries import of_search
from data.store import Workspace, append
from data.words import Feature

Show = Callable[..., Shown]
WORDS = ("river", "lake", "dog", "cat", "king", "plural")


class Words:
    """Stands for the embedder: one axis for each of a few words, so that alike is having the same words."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.asked += texts
        found = np.zeros((len(texts), vectors.WIDTH), dtype=np.float32)
        for row, text in enumerate(texts):
            found[row, 0] = 0.1
            for axis, word in enumerate(WORDS, start=1):
                found[row, axis] = text.lower().count(word)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


class FakeRoom:
    """What the operation `index` needs of a room."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def tell(self, doing: str) -> None:
        pass

    def check(self) -> None:
        pass


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Made:
    """The generated workspace, to write into."""
    return replace(made, workspace=Workspace(Path(shutil.copytree(made.workspace.folder, tmp_path / "copy"))))


@pytest.fixture
def described(copy: Made) -> Made:
    """A workspace in which a few features are described by hand."""
    made = copy
    dictionary = made.dictionaries["resid_post:5"]
    texts = {
        100: "names of a river", 101: "RIVER", 102: "the words driver and rivers", 103: "a river or a lake",
        104: "dogs: a dog", 105: "100% of _king_",
    }  # fmt: skip
    with made.workspace.write() as db:
        append(db, "explanations", [_said(dictionary, latent, text) for latent, text in texts.items()])
        append(db, "scores", [_score(103, 0.9, None, None), _score(100, 0.8, 0.5, 0.3)])
    return made


def _said(dictionary: str, latent: int, text: str) -> dict[str, Any]:
    return {
        "explanation": f"e{latent}", "dictionary": dictionary, "latent": latent, "explainer": "hand", "text": text,
        "error": None, "run": "r",
    }  # fmt: skip


def _score(latent: int, value: float, control: float | None, difference: float | None) -> dict[str, Any]:
    return {
        "explanation": f"e{latent}", "scorer": "detection", "value": value, "control": control, "difference": difference,
        "trials": 10, "run": "r",
    }  # fmt: skip


# Queries -------------------------------------------------------------------------------------------------------------


def test_by_text_the_text_itself_comes_first_then_whole_words_then_the_better_score(described: Made) -> None:
    found = of_search.by_text(described.workspace, "River")
    assert [row["latent"] for row in found] == [101, 100, 103, 102]
    assert found[0]["total"] == 4
    assert found[1]["score"] == 0.8
    page = of_search.by_text(described.workspace, "river", offset=1, limit=2)
    assert [row["latent"] for row in page] == [100, 103]


def test_by_text_signs_are_signs(described: Made) -> None:
    for text in ("100%", "_king_", "%"):
        assert [row["latent"] for row in of_search.by_text(described.workspace, text)] == [105]
    assert of_search.by_text(described.workspace, "(river") == []


def test_by_text_within_dictionaries_and_with_peoples_labels(described: Made) -> None:
    five, ten = described.dictionaries["resid_post:5"], described.dictionaries["resid_post:10"]
    assert of_search.by_text(described.workspace, "river", [ten]) == []
    with described.workspace.write() as db:
        append(db, "judgements", [_label(f"{ten}/3", "a river in a label")])
    assert [row["latent"] for row in of_search.by_text(described.workspace, "river", [ten])] == [3]
    [row] = of_search.described(described.workspace, [(ten, 3)]).values()
    assert (row["text"], row["label"], row["author"]) == ("a river in a label", True, "ada")
    assert of_search.described(described.workspace, [(five, 10_000)]) == {}


def _label(subject: str, text: str) -> dict[str, Any]:
    return {
        "number": 1, "batch": "b", "written": datetime.datetime(2026, 11, 23), "rater": "ada", "kind": "label",
        "about": "feature", "subject": subject, "item": "", "value": text,
    }  # fmt: skip


def test_a_key_is_the_md5_of_a_text(described: Made) -> None:
    key = hashlib.md5(b"a river or a lake", usedforsecurity=False).hexdigest()
    assert key in of_search.keys(described.workspace)
    assert of_search.texts(described.workspace, [key]) == {key: "a river or a lake"}
    assert [(row["latent"], row["key"]) for row in of_search.by_keys(described.workspace, [key])] == [(103, key)]


def test_a_feature_is_named_by_the_beginning_of_its_dictionary(described: Made) -> None:
    five = described.dictionaries["resid_post:5"]
    for start in (five, five[:7]):
        assert of_search.feature_named(described.workspace, f" {start}/7 ") == Feature(five, 7)
    for text in (f"{five}/4096", f"{five}", "/7", "zzz/7", "'/7", f"{five}/x"):
        assert of_search.feature_named(described.workspace, text) is None


# Vectors ---------------------------------------------------------------------------------------------------------------


def test_vectors_come_back_in_order_of_cosine_from_all_whole_pieces(tmp_path: Path) -> None:
    axes = np.eye(vectors.WIDTH, dtype=np.float32)
    names = [f"{n:032x}" for n in range(6)]
    vectors.write(tmp_path, names[:4], axes[:4])
    vectors.write(tmp_path, names[4:], axes[4:6])
    wanted = 0.1 * axes[0] + 0.7 * axes[5] + 0.5 * axes[2]
    assert [key for key, _ in vectors.Vectors.open(tmp_path).nearest(wanted, 3)] == [names[5], names[2], names[0]]
    (tmp_path / "half.npy").write_bytes(b"\x93NUMPY cut off")
    (tmp_path / "half.keys.npy").write_bytes(b"")
    (tmp_path / "lone.npy").write_bytes(b"")
    found = vectors.Vectors.open(tmp_path)
    assert len(found) == 6
    assert found.keys() == set(names)


def test_many_pieces_become_one(tmp_path: Path) -> None:
    axes = np.eye(vectors.WIDTH, dtype=np.float32)
    for n in range(vectors.MANY + 1):
        vectors.write(tmp_path, [f"{n:032x}"], axes[n : n + 1])
    vectors.merge(tmp_path)
    found = vectors.Vectors.open(tmp_path)
    assert len(found.pieces) == 1
    assert len(found) == vectors.MANY + 1
    assert found.nearest(axes[7], 1) == [(f"{7:032x}", 1.0)]


def test_only_texts_without_a_vector_are_embedded(described: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    words, room = Words(), FakeRoom(described.workspace)
    monkeypatch.setattr(index, "shared", lambda: words)
    monkeypatch.setattr(index, "AT_ONCE", 40)
    total = len(of_search.keys(described.workspace))
    first = index.run(room, seconds=0)  # pyright: ignore[reportArgumentType]
    assert (first["known"], first["total"]) == (min(40, total), total)
    assert index.run(room, seconds=60)["known"] == total  # pyright: ignore[reportArgumentType]
    assert sorted(words.asked) == sorted(set(words.asked))
    assert len(words.asked) == total
    with described.workspace.write() as db:
        append(db, "explanations", [_said(described.dictionaries["resid_post:10"], 9, "a new one: cats")])
    index.run(room, seconds=60)  # pyright: ignore[reportArgumentType]
    assert words.asked[total:] == ["a new one: cats"]


def test_by_meaning_the_nearest_comes_first(described: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    words = Words()
    monkeypatch.setattr(index, "shared", lambda: words)
    monkeypatch.setenv("LACEWING_WORKSPACE", str(described.workspace.folder))
    index.run(FakeRoom(described.workspace), seconds=60)  # pyright: ignore[reportArgumentType]
    hits = searching.near(described.workspace, words(["lake"])[0].tolist())
    assert hits[0].feature.latent == 103
    assert hits[0].value == pytest.approx(0.71, abs=0.02)
    five = described.dictionaries["resid_post:5"]
    dogs = searching.near(described.workspace, words(["a dog and a dog"])[0].tolist(), [five])
    assert dogs[0].feature == Feature(five, 104)
    assert len({hit.feature for hit in dogs}) == len(dogs)


# By prompt -------------------------------------------------------------------------------------------------------------


def fired(latent: int, density: float | None, record: float, **values: float) -> searching.Fired:
    places = {int(name[1:]): value for name, value in values.items()}
    return searching.Fired(Feature("abc", latent), "resid_post:5", places, density, record)


def test_features_of_a_prompt_are_ordered_as_asked_and_dense_ones_kept_back() -> None:
    rare, loud = fired(1, 0.01, 2.0, t0=1.8), fired(2, 0.02, 100.0, t0=21.0, t3=30.0)
    dense, unknown_ = fired(3, 0.5, 1.0, t0=1.0), fired(4, None, 0.0, t3=50.0)
    every = [rare, loud, dense, unknown_]

    def latents(order: str, tokens: tuple[int, ...] = (), dense: bool = False) -> list[int]:
        return [one.feature.latent for one in searching.ordered(every, order, tokens, dense=dense)]

    assert latents("share of record") == [1, 2, 4]
    assert latents("share of record", dense=True) == [3, 1, 2, 4]
    assert latents("activation") == [4, 2, 1]
    assert latents("activation", (0,)) == [2, 1]
    assert latents("sum over tokens", (0, 3)) == [2, 4, 1]
    assert latents("tokens") == [2, 4, 1]
    assert latents("activation", (1,)) == []


@given(st.text(), st.text())
def test_marking_a_match_loses_no_letter(text: str, match: str) -> None:
    pieces = marked(text, match)
    assert "".join(piece for piece, _ in pieces) == text
    assert all(piece.lower() == match.lower() for piece, mark in pieces if mark)
    if match and match in text and len(text.lower()) == len(text):
        assert any(mark for _, mark in pieces)


# The page ---------------------------------------------------------------------------------------------------------------


class Engine:
    """Stands for the engine: answers at once, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}

    def __call__(self, workspace: Workspace, operation: str, **request: Any) -> dict[str, Any]:
        request.get("tell", print)(f"{operation} {HOSTILE}")
        self.asked.append((operation, request))
        found = self.answers[operation]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    fake = Engine()
    asking._answers.clear()
    monkeypatch.setattr("dashboard.engine.ask", fake)
    return fake


def answer(made: Made) -> dict[str, Any]:
    """What fires on four tokens: latent 5 is dense, 9 is dead in the harvest."""
    five, ten = made.dictionaries["resid_post:5"], made.dictionaries["resid_post:10"]
    return {
        "tokens": ["The", HOSTILE, BIDI, "."], "cut": 3, "precision": "bf16",
        "dictionaries": [
            {"dictionary": five, "site": "resid_post:5", "token": [0, 1, 1, 2], "latent": [5, 5, 3, 4],
             "value": [9.0, 9.0, 0.5, 0.25], "omitted": 2},
            {"dictionary": ten, "site": "resid_post:10", "token": [1], "latent": [9], "value": [3.0], "omitted": 0},
        ],
    }  # fmt: skip


def test_a_prompt_shows_its_tokens_and_the_features_that_fire(made: Made, show: Show, engine: Engine) -> None:
    engine.answers["features"] = answer(made)
    shown = show(made.workspace.folder, "search", mode="prompt", q="The <b>")
    [(operation, request)] = engine.asked
    assert (operation, request["text"], request["model"]) == ("features", "The <b>", "tiny")
    assert request["dictionaries"] == list(made.dictionaries.values())
    strip = shown.components["prompt_tokens"]
    assert strip["tokens"] == ["The", HOSTILE, "⟨202E⟩gnirts⟨202C⟩", "."]
    rows = shown.components["prompt_features"]["rows"]
    assert {row["id"].split("/")[1] for row in rows} == {"3", "4", "9"}
    assert rows[-1]["id"] == f"{made.dictionaries['resid_post:10']}/9"  # it has no record to be a share of
    assert "3 features fire" in shown.html
    assert "1 dense ones hidden; the last 3 tokens of the text were not read; computed in bf16" in shown.html
    assert "<script" not in shown.html


def test_tokens_and_dense_features_are_chosen_in_the_address(made: Made, show: Show, engine: Engine) -> None:
    engine.answers["features"] = answer(made)
    query = {"mode": "prompt", "q": "The", "token": "0.2", "dense": "true", "by": "activation"}
    shown = show(made.workspace.folder, "search", **query)
    assert [row["id"].split("/")[1] for row in shown.components["prompt_features"]["rows"]] == ["5", "4"]
    assert shown.components["prompt_tokens"]["chosen"] == [0, 2]
    wrong = show(made.workspace.folder, "search", mode="prompt", q="The", token="0.9")
    assert "names no tokens of this text; it has 4, from 0 to 3" in wrong.html
    assert len(engine.asked) == 1  # choosing asks nothing again


def test_an_engine_that_fails_is_a_sentence_beside_the_page(made: Made, show: Show, engine: Engine) -> None:
    engine.answers["features"] = Mistake(f"The engine ended {HOSTILE}.")
    shown = show(made.workspace.folder, "search", mode="prompt", q="again")
    assert "The engine ended &lt;script" in shown.html
    assert shown.app.text_area[0].value == "again"


def test_by_text_hits_tell_what_was_said_its_worth_and_an_example(made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "search", q="PLURAL")
    lines = shown.components["hits_text"]["lines"]
    assert lines
    assert all(["plural", True] in line["said"] for line in lines)
    assert all("⟨202E⟩" in line["said"][-1][0] for line in lines)
    assert any("swapped" in tag[0] for line in lines for tag in line["tags"])
    assert any("tokens" in line for line in lines)
    nothing = show(made.workspace.folder, "search", q="no such words")
    assert "No explanation or label contains &#x27;no such words&#x27;" in nothing.html
    assert "There is no mode here &#x27;magic&#x27;" in show(made.workspace.folder, "search", mode="magic").html


def test_by_meaning_without_the_model_searches_by_text_and_says_so(
    made: Made, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "PACKAGE", "no_such_package")
    shown = show(made.workspace.folder, "search", mode="meaning", q="plural")
    assert "is not installed, so this searches by text" in shown.html
    assert shown.components["hits_text"]["lines"]


def test_by_meaning_the_page_tells_whose_vectors_and_how_many(
    described: Made, show: Show, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Words()
    monkeypatch.setattr(index, "shared", lambda: words)
    monkeypatch.setattr(vectors, "installed", lambda: True)
    index.run(FakeRoom(described.workspace), seconds=60)  # pyright: ignore[reportArgumentType]
    engine.answers = {
        "index": {"known": 40, "total": 50, "model": vectors.MODEL}, "embed": {"vectors": words(["river"]).tolist()},
    }  # fmt: skip
    shown = show(described.workspace.folder, "search", mode="meaning", q="water")
    assert "40 of 50 texts have one so far" in shown.html
    lines = shown.components["hits_meaning"]["lines"]
    assert [line["id"].split("/")[1] for line in lines][:2] == ["100", "101"]
    assert lines[0]["why"] == "cosine 1.00"


def test_by_example_the_likes_of_a_feature(made: Made, show: Show, engine: Engine) -> None:
    five = made.dictionaries["resid_post:5"]
    shown = show(made.workspace.folder, "search", mode="example", q=f"{five[:8]}/3")
    assert shown.components["hits_given"]["lines"][0]["id"] == f"{five}/3"
    assert "The harvest was made before likenesses were counted" in shown.html
    wrong = show(made.workspace.folder, "search", mode="example", q=IMAGE)
    assert "is no feature here. Write DICTIONARY/LATENT" in wrong.html
    assert "<img" not in wrong.html


def test_a_long_text_is_a_saved_view(copy: Made, show: Show, engine: Engine) -> None:
    own = copy
    engine.answers["features"] = answer(own)
    text = "long " * 300
    view = views.save(own.workspace, "search", {"q": text})
    show(own.workspace.folder, "search", mode="prompt", q_view=view)
    assert engine.asked[0][1]["text"] == text
    other = views.save(own.workspace, "circuit", {"q": "x"})
    assert "is of the page circuit" in show(own.workspace.folder, "search", mode="prompt", q_view=other).html
