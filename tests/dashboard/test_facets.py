"""Facets of features against counting by hand, on a small workspace of the generator that makes large ones."""

from __future__ import annotations

import csv
import io
import itertools
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import big
import pytest

from data import queries
from data.errors import Mistake
from data.facts import held, reading
from data.queries import of_features
from data.queries.of_features import ANY, DENSE, NONE, Facets, Range
from data.store import Workspace, append
from data.words import Feature

SIZES = big.Sizes(
    features=600, latents=200, rows=12_000, tokens=2048, explanations=260, labels=30, nodes=120, edges=300, circuits=2
)
Made = dict[str, Any]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """600 features of three dictionaries."""
    return big.make(tmp_path_factory.mktemp("big") / "workspace", SIZES)


@pytest.fixture(scope="module")
def everything(small: Workspace) -> list[Made]:
    """Every feature with all that is recorded of it, put together without the code under test."""
    with small.read() as db:

        def rows(sql: str) -> list[Made]:
            result = db.execute(sql)
            names = [column[0] for column in result.description or []]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

        features = rows("select dictionary, latent, site, layer, density, max_activation from features "
                        "join dictionaries using (dictionary)")  # fmt: skip
        told = rows("select * exclude (details) from explanations where text is not null")
        scores = rows("select * exclude (details) from scores where error is null")
        nodes = rows("select * from nodes where latent is not null")
        labels = rows("select * from labels")
        contested = {row["explanation"] for row in rows("select explanation from contested")}
    for f in features:
        mine = (f["dictionary"], f["latent"])
        f["told"] = [e for e in told if (e["dictionary"], e["latent"]) == mine]
        for e in f["told"]:
            e["scores"] = [s for s in scores if s["explanation"] == e["explanation"]]
        f["nodes"] = [n for n in nodes if (n["dictionary"], n["latent"]) == mine]
        f["labels"] = [one for one in labels if (one["dictionary"], one["latent"]) == mine]
        f["contested"] = any(e["explanation"] in contested for e in f["told"])
    return features


def of(f: Made, name: str) -> set[str]:
    """The values that a feature has of a facet with names."""
    return {
        "dictionary": {f["dictionary"]},
        "state": {"dead" if f["density"] == 0 else "dense" if f["density"] > DENSE else "alive"},
        "explainer": {e["explainer"] for e in f["told"]},
        "scorer": {s["scorer"] for e in f["told"] for s in e["scores"]},
        "author": {one["author"] for one in f["labels"]},
        "circuit": {n["circuit"] for n in f["nodes"]},
    }[name]


def best(f: Made, facets: Facets) -> float | None:
    """The largest difference by the explainers and scorers asked for; of the explanations with the text, if any has it."""
    told = [e for e in f["told"] if not set(facets.explainer) - {ANY, NONE} or e["explainer"] in facets.explainer]
    told = [e for e in told if facets.text.lower() in e["text"].lower()] or told
    scores = [
        s for e in told for s in e["scores"] if not set(facets.scorer) - {ANY, NONE} or s["scorer"] in facets.scorer
    ]
    return max((s["difference"] for s in scores if s["difference"] is not None), default=None)


def inside(value: float | None, wanted: Range) -> bool:
    if value is None:
        return False
    return (wanted.low is None or value >= wanted.low) and (wanted.high is None or value < wanted.high)


def fits(f: Made, facets: Facets) -> bool:
    """Whether a feature fits, one facet after another."""
    for name in ("dictionary", "state", "explainer", "scorer", "author", "circuit"):
        wanted, has = getattr(facets, name), of(f, name)
        if wanted and not (has & set(wanted) or (ANY in wanted and has) or (NONE in wanted and not has)):
            return False
    ranges = {"density": f["density"], "activation": f["max_activation"], "score": best(f, facets)}
    if any(getattr(facets, name) and not inside(value, getattr(facets, name)) for name, value in ranges.items()):
        return False
    said = [e["text"] for e in f["told"]] + [one["text"] for one in f["labels"]]
    if facets.text and not any(facets.text.lower() in text.lower() for text in said):
        return False
    return f["contested"] or not facets.contested


CHOSEN = [
    Facets(),
    Facets(state=("alive",)),
    Facets(state=("dead", "dense")),
    Facets(density=Range(1e-3, 1e-2)),
    Facets(density=Range(None, 1e-3), activation=Range(5.0)),
    Facets(explainer=("llm",)),
    Facets(explainer=(NONE,), circuit=(ANY,)),
    Facets(explainer=("rule", "token_lift"), score=Range(0.1)),
    Facets(scorer=("detection",), score=Range(0.0, 0.2)),
    Facets(scorer=("detection", "fuzzing"), state=("alive",)),
    Facets(author=("anna", "ben")),
    Facets(contested=True),
    Facets(text="SUCH AS"),
    Facets(text="LA", score=Range(0.1), explainer=("llm",)),
    Facets(text="label no. 1"),
    Facets(circuit=("large0000circuit",), scorer=(ANY,)),
]


@pytest.mark.parametrize("facets", CHOSEN, ids=lambda f: "+".join(f.active) or "all")
def test_the_list_is_what_counting_by_hand_gives(facets: Facets, small: Workspace, everything: list[Made]) -> None:
    found = {(f["dictionary"], f["latent"]) for f in listed(small, facets)}
    assert found == {(f["dictionary"], f["latent"]) for f in everything if fits(f, facets)}
    assert of_features.total(small, facets) == len(found)
    assert found, "a filter that nothing fits would prove nothing"


def listed(workspace: Workspace, facets: Facets) -> list[queries.Row]:
    pages = (queries.features(workspace, facets, offset=at, limit=250) for at in (0, 250, 500))
    return list(itertools.chain.from_iterable(pages))


@pytest.mark.parametrize("facets", CHOSEN, ids=lambda f: "+".join(f.active) or "all")
def test_each_number_is_what_choosing_the_value_would_list(facets: Facets, small: Workspace) -> None:
    """The values already chosen in the same facet do not count; all other facets do."""
    for name, counts in of_features.counted(small, facets).items():
        for one in counts:
            alone = replaced(facets, name, one.value)
            assert one.count == of_features.total(small, alone), (name, one.value)


def replaced(facets: Facets, name: str, value: str) -> Facets:
    if name in ("density", "activation", "score"):
        return replace(facets, **{name: Range.parse(value)})
    return replace(facets, **{name: True if name == "contested" else (value,)})


def test_counts_of_ranges_cover_all_that_have_a_value(small: Workspace, everything: list[Made]) -> None:
    counted = of_features.counted(small, Facets())
    assert sum(one.count for one in counted["density"]) == len(everything)
    assert sum(one.count for one in counted["activation"]) == len(everything)
    assert sum(one.count for one in counted["score"]) == sum(best(f, Facets()) is not None for f in everything)


KEYS: dict[str, Callable[[Made], float | None]] = {
    "max activation": lambda f: f["max_activation"],
    "density": lambda f: f["density"],
    "circuits": lambda f: len(of(f, "circuit")) or None,
    "effect": lambda f: max((abs(n["effect"]) for n in f["nodes"]), default=None),
    "above control": lambda f: best(f, Facets()),
}


@pytest.mark.parametrize("down", ["", "-"])
@pytest.mark.parametrize("name", KEYS)
def test_orders_hold_for_all_pages_and_put_nothing_last(
    name: str, down: str, small: Workspace, everything: list[Made]
) -> None:
    value = {(f["dictionary"], f["latent"]): KEYS[name](f) for f in everything}
    found = [value[f["dictionary"], f["latent"]] for f in listed(small, Facets(sort=down + name))]
    known = [v for v in found if v is not None]
    assert found == known + [None] * (len(found) - len(known))
    assert known == sorted(known, reverse=bool(down))


def test_what_is_shown_is_the_best_score_and_its_text(small: Workspace, everything: list[Made]) -> None:
    known = {(f["dictionary"], f["latent"]): f for f in everything}
    for row in listed(small, Facets(scorer=("detection",))):
        f = known[row["dictionary"], row["latent"]]
        assert row["difference"] == best(f, Facets(scorer=("detection",)))
        assert row["scorer"] == "detection"
        assert row["text"] in {e["text"] for e in f["told"] if any(s["value"] == row["score"] for s in e["scores"])}
        newest = max(f["labels"], key=lambda one: one["written"], default={"text": None})
        assert row["label"] == newest["text"]


def test_a_text_that_was_looked_for_is_shown_before_a_better_one(small: Workspace, everything: list[Made]) -> None:
    twice = next(f for f in everything if len({e["text"] for e in f["told"]}) > 1)
    for text in (e["text"] for e in twice["told"]):
        [row] = [
            f
            for f in listed(small, Facets(text=text))
            if (f["dictionary"], f["latent"]) == (twice["dictionary"], twice["latent"])
        ]
        assert row["text"] == text


def test_the_file_of_all_holds_all_in_order(small: Workspace) -> None:
    facets = Facets(state=("alive",), sort="-density")
    lines = list(csv.DictReader(io.StringIO(of_features.everything(small, facets).decode())))
    rows = listed(small, facets)
    assert [(line["dictionary"], int(line["latent"])) for line in lines] == [
        (r["dictionary"], r["latent"]) for r in rows
    ]
    assert [float(line["density"]) for line in lines] == [r["density"] for r in rows]


def test_a_glance_knows_the_circuits(small: Workspace, everything: list[Made]) -> None:
    f = max(everything, key=lambda f: len(of(f, "circuit")))
    shown = of_features.glance(small, Facets(), Feature(f["dictionary"], f["latent"]))
    assert set(shown["in_circuits"]) == of(f, "circuit")
    with pytest.raises(Mistake, match="there is no latent 200"):
        of_features.glance(small, Facets(), Feature(f["dictionary"], 200))


@pytest.mark.parametrize(
    ("facets", "sentence"),
    [
        (Facets(explainer=("llmm",)), "There is no explainer 'llmm'. Did you mean 'llm'?"),
        (Facets(dictionary=("0123",)), "There is no dictionary '0123'."),
        (Facets(circuit=("larg",)), "There is no circuit with features 'larg'."),
    ],
)
def test_an_unknown_value_is_a_sentence(facets: Facets, sentence: str, small: Workspace) -> None:
    with pytest.raises(Mistake) as told:
        queries.features(small, facets)
    assert str(told.value).startswith(sentence)


@pytest.mark.parametrize("text", ["high", "1", "..", "1..0.5", "nan..", "0.1..inf", "1..2..3"])
def test_a_wrong_range_is_a_sentence(text: str) -> None:
    with pytest.raises(Mistake, match="density = "):
        Range.parse(text, "density")


def test_ranges_are_written_as_they_are_read() -> None:
    for text in ("0.001..0.1", "..5", "0..", ""):
        assert str(Range.parse(text)) == text


# What is written while the facts are held ----------------------------------------------------------------------------


@pytest.fixture
def mine(small: Workspace, tmp_path: Path) -> Workspace:
    """A workspace to write into."""
    return Workspace(shutil.copytree(small.folder, tmp_path / "workspace"))


def test_a_label_counts_as_soon_as_it_is_given(mine: Workspace) -> None:
    before = of_features.total(mine, Facets(author=(ANY,)))
    [free, *_] = queries.features(mine, Facets(author=(NONE,)))
    said = {"dictionary": free["dictionary"], "latent": free["latent"], "text": "Zebras", "author": "me"}
    with mine.write() as db:
        append(db, "labels", [said | {"written": "2026-11-23"}])
    assert of_features.total(mine, Facets(author=(ANY,))) == before + 1
    [row] = queries.features(mine, Facets(text="zebra"))
    assert (row["label"], row["author"]) == ("Zebras", "me")


def explain(workspace: Workspace) -> None:
    [free, *_] = queries.features(workspace, Facets(explainer=(NONE,)))
    said = {"dictionary": free["dictionary"], "latent": free["latent"], "explainer": "new", "text": "t", "run": "r"}
    with workspace.write() as db:
        append(db, "explanations", [said | {"explanation": "fresh"}])


def test_explanations_are_counted_soon_and_until_then_it_is_said(
    mine: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_features.total(mine, Facets())
    monkeypatch.setattr(held, "GRACE", 0.0)
    monkeypatch.setattr(held, "REST", 0.0)
    monkeypatch.setattr(reading, "base", None)  # what was harvested is not read again
    held._held(mine).due = 0.0
    explain(mine)
    seen = []
    for _ in range(400):
        known = {one.value for one in of_features.counted(mine, Facets())["explainer"]}
        seen.append(("new" in known, of_features.behind(mine)))
        if seen[-1] == (True, False):
            break
        time.sleep(0.02)
    assert seen[0] == (False, True)
    assert seen[-1] == (True, False)
    assert set(seen) <= {(False, True), (True, False)}


def test_a_run_that_writes_without_pause_is_left_alone_for_a_while(mine: Workspace) -> None:
    of_features.total(mine, Facets())
    held._held(mine).due = time.monotonic() + 3600
    explain(mine)
    assert "new" not in {one.value for one in of_features.counted(mine, Facets())["explainer"]}
    assert of_features.behind(mine)
    assert held._held(mine).reading is None


def test_a_workspace_without_features_has_none(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "empty", create=True)
    assert queries.features(workspace, Facets(text="x", score=Range(0.1))) == []
    assert of_features.total(workspace, Facets()) == 0
    assert of_features.everything(workspace, Facets()).count(b"\n") == 1
