"""The Compare page without a browser: two circuits tested and not, two dictionaries, two prompts; missing and hostile."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Shown  # pyright: ignore
from generated import BIDI, CIRCUIT, HOSTILE
from generated_comparison import OTHER, THIRD, More, shared

from dashboard.compare import _firing, prompts
from dashboard.compare._tested import turn_row
from dashboard.widgets.pair import distinct
from data import parts, queries, views
from data.queries import of_comparison
from data.store import Workspace

Show = Callable[..., Shown]
KINDS = parts.names("dashboard.compare")


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> More:
    return shared(tmp_path_factory)


def texts_of(shown: Shown, table: str, column: str, *, nth: int = 0) -> list[Any]:
    """The texts in a column of a table."""
    data = shown.components[table]
    at = [n for n, c in enumerate(data["columns"]) if c["label"] == column][nth]
    cells = [row["cells"][at] for row in data["rows"]]
    return [cell["text"] if isinstance(cell, Mapping) else cell for cell in cells]


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_keeps_the_contract(name: str) -> None:
    kind = parts.load("dashboard.compare", name)
    assert kind.NAME
    assert kind.__doc__
    assert callable(kind.render)
    assert [parts.load("dashboard.compare", k).ORDER for k in KINDS].count(kind.ORDER) == 1


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_workspace_says_which_command_makes_it(name: str, workspace: Workspace, show: Show) -> None:
    html = show(workspace.folder, "compare", kind=name).html
    assert re.search(r"<code>lacewing (circuit agreement|train) --workspace", html)


def test_options_with_equal_labels_are_told_apart() -> None:
    """Streamlit sends the label of what was chosen, not its value."""
    assert distinct({"x1": "same", "x2": "same", "x3": "other"}) == {
        "x1": "same · x1",
        "x2": "same · x2",
        "x3": "other",
    }


def test_tested_circuits_show_the_findings(more: More, show: Show) -> None:
    shown = show(more.folder, "compare", a=CIRCUIT[:16], b=OTHER)
    findings = [d for d in more.differences if d["status"] != "same"]
    assert shown.components["compare_differences"]["note"] == f"1 to 50 of {len(findings)}"
    counts = Counter(text.split(" ", 1)[1] for text in texts_of(shown, "compare_differences", "Finding"))
    assert counts == Counter(d["status"] for d in findings)
    assert "Not tested" not in shown.html
    assert "0.031" in shown.html  # what could have been found
    assert "This test" not in shown.html
    first = min(findings, key=lambda d: d["q"])
    row = shown.components["compare_differences"]["rows"][0]["cells"]
    assert row[4]["raw"] == pytest.approx(first["difference"])


def test_the_other_order_turns_every_row(more: More, show: Show) -> None:
    shown = show(more.folder, "compare", a=OTHER, b=CIRCUIT, find="added")
    lost = [d for d in more.differences if d["status"] == "lost"]
    assert shown.components["compare_differences"]["note"] == f"1 to {len(lost)} of {len(lost)}"
    best = min(lost, key=lambda d: d["q"])
    cells = shown.components["compare_differences"]["rows"][0]["cells"]
    assert cells[0]["text"] == "+ added"
    assert cells[4]["raw"] == pytest.approx(-best["difference"])
    assert cells[2]["raw"] == pytest.approx(best["right_effect"])
    turned = turn_row(best)
    assert (turned["lower"], turned["upper"]) == (-best["upper"], -best["lower"])
    assert turned["left_rank"] == best["right_rank"]
    assert turn_row(turned) == best


def test_the_overview_says_in_words_what_was_found_where(more: More, show: Show) -> None:
    shown = show(more.folder, "compare", a=CIRCUIT, b=OTHER)
    cells = [c for row in shown.components["compare_places"]["rows"] for c in row["cells"] if c]
    said = Counter()
    for cell in cells:
        for count, word in re.findall(r"(\d+) ([a-z][a-z -]+)", cell["words"]):
            said[word.strip()] += int(count)
    nodes = [d for d in more.differences if d["kind"] == "node" and d["status"] != "same"]
    assert said == Counter(d["status"] for d in nodes)
    tops = {cell["id"]: cell["left"]["nodes"] for cell in cells}
    held = [n for n in queries.nodes(more.made.workspace, CIRCUIT) if n["kind"] != "logit"]
    assert tops == Counter(f"{n['site']}@{n['position']}" for n in held)


def test_a_cell_narrows_the_list(more: More, show: Show) -> None:
    shown = show(more.folder, "compare", a=CIRCUIT, b=OTHER, cell="resid_post:10@3")
    names = texts_of(shown, "compare_differences", "Node or edge")
    assert names
    assert all(re.fullmatch(r"resid_post:10/latent:\d+@3", name) for name in names)


def test_circuits_that_nobody_tested_say_so_and_how(more: More, show: Show) -> None:
    shown = show(more.folder, "compare", a=CIRCUIT, b=THIRD)
    assert "Not tested" in shown.html
    assert f"lacewing diff {CIRCUIT} {THIRD} --workspace" in shown.html
    assert [b.label for b in shown.app.button if b.key == "compare_diff_start"]
    found = of_comparison.overlap(more.made.workspace, CIRCUIT, THIRD, "position")
    assert f'<span class="lw-value">{found["shared"]}</span>' in shown.html
    assert f'<span class="lw-value">{found["jaccard"]:.3f}</span>' in shown.html
    assert "compare_differences" not in shown.components
    second = show(more.folder, "compare", a=CIRCUIT, b=THIRD, page="2")
    words = [*texts_of(shown, "compare_nodes", "In"), *texts_of(second, "compare_nodes", "In")]
    assert words[: found["left_only"]] == ["left only"] * found["left_only"]  # the others do not differ at all
    assert set(words[found["left_only"] :]) == {"both"}


def test_the_scatter_holds_every_node_once(more: More, show: Show) -> None:
    shown = show(more.folder, "compare", a=CIRCUIT, b=THIRD)
    points = shown.components["compare_scatter"]["points"]
    assert len(points) == of_comparison.beside(more.made.workspace, CIRCUIT, THIRD, "position")[0]["total"]
    assert {p["corners"] for p in points} == {0, 4}  # in both, or in the left one alone: shapes, not colour alone
    assert shown.components["compare_scatter"]["diagonal"]


def test_wrong_addresses_of_circuits_are_sentences(more: More, show: Show) -> None:
    assert "There is no circuit &#x27;nothing&#x27;" in show(more.folder, "compare", a="nothing", b=OTHER).html
    assert "There is no kind of comparison &#x27;pears&#x27;" in show(more.folder, "compare", kind="pears").html
    assert "choose two" in show(more.folder, "compare", a=OTHER, b=OTHER).html
    assert (
        "There is no finding &#x27;gained&#x27;" in show(more.folder, "compare", a=CIRCUIT, b=OTHER, find="gained").html
    )
    assert "pages count from 1" in show(more.folder, "compare", a=CIRCUIT, b=OTHER, page="0").html
    assert (
        "There is no way to match nodes &#x27;luck&#x27;"
        in show(more.folder, "compare", a=CIRCUIT, b=THIRD, by="luck").html
    )


# Dictionaries --------------------------------------------------------------------------------------------------------


def test_dictionaries_stand_beside_their_baselines_and_matches(more: More, show: Show) -> None:
    one, other = more.made.dictionaries.values()
    shown = show(more.folder, "compare", kind="dictionaries", a=one, b=other)
    names = texts_of(shown, "compare_metrics", "What")
    at = names.index("explained variance")
    assert texts_of(shown, "compare_metrics", "Left")[at] == "0.830 [0.820, 0.840]"
    assert texts_of(shown, "compare_metrics", "Apart")[at] == "intervals overlap"
    assert texts_of(shown, "compare_metrics", "PCA left")[at] == "0.710"
    note = shown.components["compare_matches"]["note"]
    assert note == "1 to 50 of 120"
    assert f'<span class="lw-value">{4096 - 120:,}</span>' in shown.html  # without a partner
    assert texts_of(shown, "compare_findings", "Remark")[1] == f"no labels {HOSTILE}"
    density = shown.components["compare_density"]["series"]
    assert [round(sum(p["y"] for p in s["points"]), 4) for s in density] == [round(135 / 4096, 4)] * 2


def test_dictionaries_that_nobody_matched_offer_the_job(more: More, show: Show, tmp_path: Path) -> None:
    folder = shutil.copytree(more.folder, tmp_path / "copy")
    with Workspace(folder).write() as db:
        db.execute("delete from findings")
    one, other = more.made.dictionaries.values()
    shown = show(folder, "compare", kind="dictionaries", a=one, b=other)
    assert f"lacewing similar {one} {other} --workspace" in shown.html
    assert "compare_matches" not in shown.components


# Prompts -------------------------------------------------------------------------------------------------------------


def answer(tokens: list[str], fired: list[tuple[str, int, int, float]]) -> dict[str, Any]:
    """What the engine says: (dictionary, place, latent, value)."""
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(f[0] for f in fired):
        mine = [f[1:] for f in fired if f[0] == name]
        columns = [list(column) for column in zip(*mine, strict=True)]
        names = ("token", "latent", "value")
        found.append(
            {"dictionary": name, "site": "resid_post:5", "omitted": 1} | dict(zip(names, columns, strict=True))
        )
    return {"tokens": tokens, "cut": False, "dictionaries": found}


def test_features_are_ranked_by_how_differently_they_fire() -> None:
    left = answer(["a", "b"], [("d", 0, 1, 2.0), ("d", 1, 1, 4.0), ("d", 1, 2, 1.0)])
    right = answer(["c"], [("d", 0, 2, 1.0), ("d", 0, 3, 5.0)])
    known = {"d": {1: {"max_activation": 8.0}, 2: {"max_activation": 2.0}, 3: {"max_activation": None}}}
    found = _firing.compared(left, right, known)
    assert [(f.latent, f.where, f.difference) for f in found] == [
        (3, "right only", -1.0),
        (1, "left only", 0.5),
        (2, "both", 0.0),
    ]
    assert (found[1].at, found[1].values[0]) == ((1, None), {0: 2.0, 1: 4.0})


@pytest.fixture
def engine(more: More, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A stand-in for the engine, and what it was asked."""
    name, asked = more.made.dictionaries["resid_post:5"], []

    def ask(operation: str, **request: Any) -> dict[str, Any]:
        asked.append({"operation": operation, **request})
        if request["text"].startswith("The keys"):
            return answer(["The", " keys", HOSTILE], [(name, 1, 3, 2.0), (name, 2, 5, 9.0), (name, 1, 7, 1.0)])
        return answer(["The", BIDI], [(name, 1, 3, 1.0), (name, 1, 8, 3.0)])

    monkeypatch.setattr(prompts.asking, "answer", ask)
    return asked


def test_prompts_show_what_fires_on_one_alone(more: More, show: Show, engine: list[dict[str, Any]]) -> None:
    query = {"kind": "prompts", "a": "The keys are", "b": "The key is"}
    shown = show(more.folder, "compare", **query)
    assert [a["text"] for a in engine] == ["The keys are", "The key is"]
    assert set(engine[0]["dictionaries"]) == set(more.made.dictionaries.values())
    assert engine[0]["model"] == "tiny"
    fires = dict(
        zip(texts_of(shown, "compare_fired", "Feature"), texts_of(shown, "compare_fired", "Fires on"), strict=True)
    )
    prefix = more.made.dictionaries["resid_post:5"][:6]
    assert fires == {f"{prefix}/3": "both", f"{prefix}/7": "left only", f"{prefix}/8": "right only"}  # 5 is dense
    dense = show(more.folder, "compare", **query, dense="shown", fires="left only")
    assert set(texts_of(dense, "compare_fired", "Feature")) == {f"{prefix}/5", f"{prefix}/7"}


def test_a_chosen_feature_is_seen_in_both_texts(more: More, show: Show, engine: list[dict[str, Any]]) -> None:
    name = f"{more.made.dictionaries['resid_post:5']}/8"
    shown = show(more.folder, "compare", kind="prompts", a="The keys are", b="The key is", feature=name)
    assert engine
    assert shown.html.count("lw-peak") == 1
    assert shown.components["compare_fired"]["selected"] == name
    assert HOSTILE not in shown.html
    assert BIDI not in shown.text
    wrong = f"{more.made.dictionaries['resid_post:5']}/77"
    html = show(more.folder, "compare", kind="prompts", a="The keys are", b="The key is", feature=wrong).html
    assert "fires on neither text" in html


def test_long_prompts_are_a_saved_view(more: More, show: Show, engine: list[dict[str, Any]]) -> None:
    long = "The keys " + "to the cabinet " * 40
    view = views.save(more.made.workspace, "compare", {"a": long, "b": "The key is"})
    show(more.folder, "compare", kind="prompts", view=view)
    assert engine[0]["text"] == long


def test_dictionaries_of_two_models_do_not_read_one_text(
    more: More, show: Show, engine: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = shutil.copytree(more.folder, tmp_path / "copy")
    one, other = more.made.dictionaries.values()
    with Workspace(folder).write() as db:
        db.execute("update dictionaries set model = 'another' where dictionary = ?", [other])
        db.execute("update harvests set model = 'another' where dictionary = ?", [other])
    query = {"kind": "prompts", "a": "The keys are", "b": "The key is"}
    show(folder, "compare", **query)
    assert (engine[0]["model"], engine[0]["dictionaries"]) == ("tiny", [one])
    assert "of several models" in show(folder, "compare", **query, **{"with": f"{one},{other}"}).html


def test_prompts_wait_until_there_are_two(more: More, show: Show, engine: list[dict[str, Any]]) -> None:
    assert "Write a text into both fields" in show(more.folder, "compare", kind="prompts", a="x").html
    assert "Both texts are the same" in show(more.folder, "compare", kind="prompts", a="x", b="x").html
    assert "There is no dictionary &#x27;none&#x27;" in show(
        more.folder, "compare", kind="prompts", a="x", b="y", **{"with": "none"}
    ).html  # fmt: skip
    assert engine == []


@pytest.mark.parametrize("query", [{"a": CIRCUIT, "b": OTHER}, {"a": CIRCUIT, "b": THIRD}, {"kind": "dictionaries"}])
def test_no_text_becomes_markup(query: dict[str, str], more: More, show: Show) -> None:
    shown = show(more.folder, "compare", **query)
    assert "<script" not in shown.html
    assert "<img" not in shown.html
    assert BIDI not in shown.html
    for name, data in shown.components.items():
        if "columns" in data and "corner" not in data:
            assert {len(row["cells"]) for row in data["rows"]} == {len(data["columns"])}, name
