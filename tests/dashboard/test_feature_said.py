"""What is said of a feature, what qualifies it, and that nothing of it is on the page while it is kept back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import generated_feature
import numpy as np
import pytest
from generated import BIDI
from generated_feature import COPY, FAILED, JUDGED, SECRET, Everything

from dashboard import decoders
from dashboard.widgets import scores
from data.errors import Mistake
from data.queries import of_explanations
from data.words import Feature

Show = Callable[..., Any]


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    """A feature with one of everything."""
    return generated_feature.make(tmp_path_factory.mktemp("feature") / "workspace")


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    """Pages that were drawn once for several tests."""
    return {}


@pytest.fixture
def page(every: Everything, show: Show, drawn: dict[str, Any]) -> Any:
    if "page" not in drawn:
        drawn["page"] = show(every.workspace.folder, "feature", feature=str(every.feature))
    return drawn["page"]


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).replace("&quot;", '"').replace("&#x27;", "'").split())


def labels(shown: Any) -> str:
    kinds = (shown.app.button, shown.app.expander, shown.app.text_input, shown.app.text_area, shown.app.checkbox)
    return " ".join(str(element.label) + str(getattr(element, "value", "")) for kind in kinds for element in kind)


def test_a_copy_is_folded_into_the_example_that_it_repeats(page: Any) -> None:
    rows = [row for group in page.components["examples"]["groups"] for row in group["rows"]]
    first = rows[0]
    assert [copy["under"] for copy in first["copies"]] == [f"#{COPY}"]
    assert first["copies"][0]["values"] == first["values"]


# What is shown -------------------------------------------------------------------------------------------------------


def test_a_persons_explanation_comes_first_and_a_failure_last(page: Any) -> None:
    said = [plain(text) for text in re.findall(r'<div class="lw-explanation.*?</p>', page.html, re.S)]
    assert f"{SECRET} by hand" in said[0]
    assert said[-1].startswith("No explanation: parse_failed")
    assert "⟨202E⟩" in "".join(said)
    assert BIDI not in page.text


def test_an_explanation_says_its_state_its_rule_and_who_contradicts_whom(page: Any) -> None:
    text = plain(page.html)
    assert "parse_failed · by llm:examples=5" in text
    assert f'Best rule: the token "{SECRET}" precision 0.50 [0.40, 0.60] · recall 0.50 [0.40, 0.60] · F1 0.50' in text
    assert "another feature's F1 0.50 [0.40, 0.60]" in text
    assert "contested: fits by detection, not by embedding:model=small" in text
    assert "the same words are said of 3 other features" in text


def test_every_part_of_a_score_is_told(page: Any) -> None:
    text = plain(page.html)
    for piece in (
        "0.80 [0.70, 0.90]", "0.50 [0.40, 0.60]", "+0.30 [+0.20, +0.40]", "−0.20 [−0.30, −0.10]",
        "degenerate judge · judge cannot tell planted features apart · 3 failures · adds +0.10 to the rule",
        "Statistic auroc, chance 0.50",
        "0.40 % of windows are active; precision 0.21 [0.10, 0.30]; F1 0.33 [0.20, 0.40]; average precision 0.44",
        "90 % of verdicts are the same in two orders",
        "someone/judge; on planted features right minus swapped description: +0.01 [−0.10, +0.12]",
        "By strength 0 to 20 %: 0.55 [0.40, 0.70] (8 + 20)", "By silent windows near 0.61 [0.50, 0.70] (20 + 10)",
        "3 requests: 2 parse_failed, 1 timed_out", "1,234 tokens in, 56 out",
        "Best rule, same windows 0.70 [0.60, 0.80]; the label adds 0.10 [0.00, 0.20]",
    ):  # fmt: skip
        assert piece in text, piece
    assert "<img" not in page.html


def test_only_scorers_that_ask_no_large_model_are_for_screening(every: Everything) -> None:
    found = {s["scorer"]: scores.marks(s) for s in of_explanations.about(every.workspace, every.feature).scores}
    assert {name for name, marks in found.items() if "screening" in marks} >= {"embedding:model=small", "surprisal"}
    assert "screening" not in found["detection"]
    assert "no control: cannot be told from chance" in found["surprisal"]


def test_counterexamples_are_shown_on_request(every: Everything, show: Show) -> None:
    shown = show(every.workspace.folder, "feature", feature=str(every.feature), judged=f"{JUDGED}:counterexamples")
    groups = shown.components["judged_windows"]["groups"]
    assert [(g["name"], [row["under"] for row in g["rows"]]) for g in groups] == [
        ("the text fits, the feature is silent", ["#2", "#4"]),
        ("the feature fires, the text does not fit", ["#2", "#4"]),
    ]
    assert groups[0]["rows"][0]["note"] == "detection 0.900"


def test_what_is_judged_elsewhere_is_not_shown(every: Everything, show: Show) -> None:
    for judged in ("nothing:detection", f"{FAILED}:counterexamples"):
        shown = show(every.workspace.folder, "feature", feature=str(every.feature), judged=judged)
        assert "judged_windows" not in shown.components


def test_findings_stand_beside_their_null(page: Any) -> None:
    rows = page.components["feature_findings"]["rows"]
    assert [cell if isinstance(cell, str) else cell.get("text") for cell in rows[0]["cells"][:5]] == [
        "discriminate", "AUROC against nearest", "0.70 [0.60, 0.80]", "0.45 [0.40, 0.50]", "0.25 [0.10, 0.40]",
    ]  # fmt: skip
    assert rows[1]["cells"][2]["tone"] == "grey"


def test_nearest_features_carry_both_measures(every: Everything, page: Any) -> None:
    rows = [
        [c["text"] if isinstance(c, dict) else c for c in row["cells"][:3]]
        for row in page.components["feature_nearest"]["rows"]
    ]
    assert rows == [[3, "+0.81", "0.50"], [7, "+0.40", "—"], [60, "—", "0.25"]]
    first = page.components["feature_nearest"]["rows"][0]["cells"]
    assert first[0]["query"]["feature"] == str(every.beside)


def test_other_dictionaries_show_the_stored_match_first(every: Everything, page: Any) -> None:
    [row] = page.components["feature_elsewhere"]["rows"]
    texts = [c["text"] if isinstance(c, dict) else c for c in row["cells"]]
    assert texts[2:6] == [44, "+0.87", "0.31", "0.52"]


def test_where_nothing_is_stored_directions_are_compared_here(every: Everything, show: Show) -> None:
    shown = show(every.workspace.folder, "feature", feature=f"{every.feature.dictionary}/5")
    [row] = shown.components["feature_elsewhere"]["rows"]
    texts = [c["text"] if isinstance(c, dict) else c for c in row["cells"]]
    assert texts[2:4] == [6, "+1.00"]


def test_linked_features_tell_which_way_and_how_much(every: Everything, page: Any) -> None:
    with every.workspace.read() as db:
        [(many,)] = db.execute("""select count(*) from edges where source in (select node from nodes where latent = 0 and
            dictionary = ?)""", [every.feature.dictionary]).fetchall()  # fmt: skip
    rows = page.components["feature_links"]["rows"]
    assert {row["cells"][0] for row in rows} == {"→ goes to"}
    assert len(rows) == min(many, 60)
    weights = [abs(row["cells"][2]["raw"]) for row in rows]
    assert weights == sorted(weights, reverse=True)


# Kept back -----------------------------------------------------------------------------------------------------------


def test_the_secret_is_on_the_page_unless_kept_back(page: Any) -> None:
    """The next test would pass on an empty page."""
    assert page.text.count(SECRET) > 8


@pytest.mark.parametrize("more", [{"open": "4.9"}, {"judged": f"{JUDGED}:counterexamples"}])
def test_a_hidden_explanation_leaks_nowhere(more: dict[str, str], every: Everything, show: Show) -> None:
    shown = show(every.workspace.folder, "feature", feature=str(every.feature), hide="1", **more)
    assert SECRET not in shown.text
    assert SECRET not in labels(shown)
    assert "by hand" not in shown.text
    assert "Kept back until you have looked: 4 explanations" in shown.html
    assert "examples" in shown.components  # the evidence is there


def test_what_is_hidden_stays_hidden_from_feature_to_feature(every: Everything, show: Show) -> None:
    shown = show(every.workspace.folder, "feature", feature=str(every.beside), hide="1", context="full")
    actions = {a.get("key"): a for a in shown.components["feature_keys"]["actions"]}
    assert actions["["]["query"] == {"feature": f"{every.feature.dictionary}/2", "hide": "1", "context": "full"}
    assert actions["e"]["pressed"]
    shown = show(every.workspace.folder, "feature", feature=str(every.feature), hide="1")
    links = [row["cells"][0]["query"] for row in shown.components["feature_nearest"]["rows"]]
    assert {query["hide"] for query in links} == {"1"}


def test_show_brings_them_back(every: Everything, show: Show) -> None:
    shown = show(every.workspace.folder, "feature", feature=str(every.feature), hide="1")
    shown.app.button("show_explanations").click().run()
    assert SECRET in shown.text
    assert "hide" not in shown.app.query_params


# Before and after ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latent", "skip", "before", "after"),
    [(0, "", None, 1), (10, "", 9, 11), (10, "1", 8, 11)],
)
def test_the_features_beside_it(
    latent: int, skip: str, before: int | None, after: int | None, every: Everything, show: Show
) -> None:
    """Every tenth latent, from 9 on, is dead."""
    query = {"skip": skip} if skip else {}
    shown = show(every.workspace.folder, "feature", feature=f"{every.feature.dictionary}/{latent}", **query)
    actions = {a.get("key"): a for a in shown.components["feature_keys"]["actions"]}
    for key, wanted in (("[", before), ("]", after)):
        if wanted is None:
            assert actions[key]["off"]
        else:
            assert actions[key]["query"]["feature"] == f"{every.feature.dictionary}/{wanted}"


# Queries and decoders ------------------------------------------------------------------------------------------------


def test_contested_is_what_the_view_says(every: Everything) -> None:
    with every.workspace.read() as db:
        view = {k: (fits, misfits) for k, fits, misfits in db.execute("select * from contested").fetchall()}
    for row in of_explanations.about(every.workspace, every.feature).explanations:
        assert view.get(row["explanation"], (None, None)) == (row["fits"], row["misfits"])
    assert JUDGED in view


def test_the_best_explanation_is_the_one_furthest_above_its_control(every: Everything) -> None:
    found = of_explanations.texts(every.workspace, (every.feature, Feature("nothing", 1)))
    assert list(found) == [every.feature]
    with every.workspace.read() as db:
        sql = """select e.text from explanations e join scores s using (explanation)
                 where dictionary = ? and latent = 0 and s.error is null order by difference desc nulls last limit 1"""
        [(text,)] = db.execute(sql, [every.feature.dictionary]).fetchall()
    assert found[every.feature]["text"] == text


def test_directions_are_compared_as_by_hand(every: Everything) -> None:
    rows = np.random.default_rng(0).standard_normal((150, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows[5]
    [own, other] = decoders.compare(
        every.workspace, Feature(every.feature.dictionary, 5), (every.feature.dictionary, every.other), 3
    )
    best = [n for n in np.argsort(-cosines) if n != 5][:3]
    assert [near.feature.latent for near in own.nearest] == best
    assert [near.cosine for near in own.nearest] == pytest.approx(cosines[best], abs=1e-6)
    assert other.nearest[0].feature == Feature(every.other, 6)
    assert other.nearest[0].cosine == pytest.approx(1, abs=1e-6)


def test_what_cannot_be_compared_says_why(every: Everything, monkeypatch: pytest.MonkeyPatch) -> None:
    [gone] = decoders.compare(every.workspace, every.feature, ("gone",))
    assert gone.problem.startswith("its files cannot be read here")
    monkeypatch.setattr(decoders, "LARGEST", 10)
    [large] = decoders.compare(every.workspace, every.feature, (every.other,))
    assert large.problem.endswith(f"lacewing similar {every.feature.dictionary} {every.other}")
    with pytest.raises(Mistake, match="cannot be read here"):
        decoders.compare(every.workspace, Feature("gone", 0), (every.other,))
