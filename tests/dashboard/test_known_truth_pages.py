"""Clusters, SHIFT, Trust and Plans without a browser: what they count, what they hide, what they say is missing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Shown  # pyright: ignore
from generated import BIDI, HOSTILE
from generated_comparison import PERSON, SHIFT, More, by_a_person, shared

from autointerp.scale.plan_config import PlanConfig
from circuits.shift.config import ShiftConfig
from dashboard import commands
from dashboard.pages import plans, shift
from dashboard.trust import scoring
from data import choices, parts
from data.queries import of_clusters
from data.store import Workspace

Show = Callable[..., Shown]
PAGES = {
    "clusters": "clusters",
    "shift": "shift --remove none",
    "trust": "bench-autointerp",
    "plans": "plan-autointerp",
}
SUBJECTS = parts.names("dashboard.trust")
SETTING = choices.setting_of(SHIFT)


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> More:
    return shared(tmp_path_factory)


@pytest.fixture
def own(more: More, tmp_path: Path) -> Path:
    """A copy that a test may write to."""
    return shutil.copytree(more.folder, tmp_path / "copy")


def column(shown: Shown, table: str, label: str) -> list[Any]:
    data = shown.components[table]
    at = [c["label"] for c in data["columns"]].index(label)
    cells = [row["cells"][at] for row in data["rows"]]
    return [cell["text"] if isinstance(cell, Mapping) else cell for cell in cells]


def figure(shown: Shown, label: str) -> str:
    """The value of one of the figures at the head of a section."""
    found = re.search(rf'lw-label">{label}</span><span class="lw-value">([^<]*)', shown.html)
    assert found, label
    return found[1]


@pytest.mark.parametrize(("page", "command"), PAGES.items())
def test_an_empty_workspace_says_which_command_makes_it(
    page: str, command: str, workspace: Workspace, show: Show
) -> None:
    verb, _, rest = command.partition(" ")
    html = show(workspace.folder, page).html
    assert re.search(rf"<code>lacewing {verb} {rest}.*--workspace", html)


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("clusters", {"cluster": "0"}), ("clusters", {"cluster": "5"}), ("shift", {}), ("shift", {"results": "shown"}),
        ("plans", {}), *(("trust", {"of": name}) for name in SUBJECTS),
    ],
)  # fmt: skip
def test_no_text_becomes_markup(page: str, query: dict[str, str], own: Path, show: Show) -> None:
    shown = show(own, page, **query)
    assert 'class="lw-head"' in shown.html
    assert "cannot be shown" not in shown.html
    assert "<script" not in shown.html
    assert "<img" not in shown.html
    assert BIDI not in shown.text
    for name, data in shown.components.items():
        if "columns" in data and "rows" in data and "corner" not in data:
            widths = {len(row["cells"]) for row in data["rows"] if "cells" in row}
            assert widths <= {len(data["columns"])}, name


@pytest.mark.parametrize(
    ("page", "query", "said"),
    [
        ("clusters", {"recipe": "none"}, "There is no clustering"), ("clusters", {"cluster": "700"}, "no cluster 700"),
        ("clusters", {"cluster": "x"}, "is no number of a cluster"), ("clusters", {"show": "x"}, "There is no show"),
        ("shift", {"run": "x"}, "There is no run of SHIFT"), ("trust", {"of": "x"}, "There is no subject of this page"),
        ("trust", {"run": "x"}, "There is no run of the bench"), ("trust", {"latent": "9"}, "There is no planted feature"),
        ("plans", {"run": "x"}, "There is no plan"),
    ],
)  # fmt: skip
def test_wrong_addresses_are_sentences(page: str, query: dict[str, str], said: str, more: More, show: Show) -> None:
    assert said in show(more.folder, page, **query).html


# Clusters ------------------------------------------------------------------------------------------------------------


def test_clusters_count_what_is_sure_and_mark_the_predicted_token(more: More, show: Show) -> None:
    shown = show(more.folder, "clusters", cluster="3", order="size")
    [found] = of_clusters.clusterings(more.made.workspace)
    assert figure(shown, "Surely cohesive") == str(found["cohesive"])
    assert figure(shown, "Surely above random") == str(found["above"]) == "1"
    sizes = column(shown, "clusters_list", "Contexts")
    assert [int(n) for n in sizes] == sorted((c["size"] for c in more.clusters), reverse=True)[:50]
    assert shown.components["clusters_list"]["selected"] == "3"
    assert len(shown.components["clusters_cohesion"]["points"]) == len(more.clusters)
    assert re.search(r'lw-peak[^>]*title="the predicted token"> of<', shown.html)
    assert "It has no circuit: 3 contexts are too few" in shown.html


def test_a_cluster_leads_to_its_circuit(more: More, show: Show) -> None:
    shown = show(more.folder, "clusters", show="with a circuit")
    rows = shown.components["clusters_list"]["rows"]
    assert [r["cells"][-1]["query"]["circuit"] for r in rows] == ["c1rcu1t000000001", "c1rcu1t000000002"]
    assert rows[1]["cells"][5]["tone"] == "grey"  # never evaluated, so not surely above anything


# SHIFT ---------------------------------------------------------------------------------------------------------------


def test_the_results_are_hidden_until_asked_for(own: Path, show: Show) -> None:
    shown = show(own, "shift")
    assert "shift_scores" not in shown.components
    assert "shift_dots_0" not in shown.components
    assert "no longer chooses blind" in shown.html
    assert not choices.seen(Workspace(own), SETTING)
    asked = show(own, "shift", results="shown")
    assert column(asked, "shift_scores", "label")[3] == "66.0 % [50, 80]"
    assert choices.seen(Workspace(own), SETTING)
    assert choices.save(Workspace(own), SETTING, ["resid_post:5/latent:1"]).blind is False


def test_a_persons_own_run_shows_its_results(more: More, own: Path, show: Show) -> None:
    by_a_person(replace(more, made=replace(more.made, workspace=Workspace(own))))
    shown = show(own, "shift")
    assert shown.components["shift_same"]["selected"] == PERSON
    assert column(shown, "shift_same", "Chosen by") == ["a person", "auto"]
    points = shown.components["shift_dots_0"]["points"]
    squares = [p for p in points if p.get("corners") == 4]
    assert [p["x"] for p in squares] == [0.55, 0.55]  # the control stands beside SHIFT's own rows
    assert [p["x"] for p in points if p.get("corners") is None][3] == pytest.approx(0.66)


def test_a_tick_is_saved_and_the_job_names_it(own: Path, show: Show) -> None:
    shown = show(own, "shift")
    rows = shown.components[f"shift_{SETTING}"]["rows"]
    assert [r["removed"] for r in rows] == [True] * 3 + [False] * 5
    assert rows[0]["tokens"][1] == HOSTILE
    chosen = [rows[4]["id"], rows[1]["id"]]
    choices.save(Workspace(own), SETTING, ["resid_post:9/latent:9"])  # from another list
    latents = [{"site": r["id"].split("/")[0], "latent": int(r["id"].split(":")[-1])} for r in rows]
    shift._save(SETTING, chosen, latents)
    kept = choices.load(Workspace(own), SETTING)
    assert kept is not None
    assert kept.names == (*chosen, "resid_post:9/latent:9")
    again = show(own, "shift")
    assert set(again.components[f"shift_{SETTING}"]["ticked"]) >= set(chosen)
    assert f"--remove {','.join(kept.names)}" in again.html
    assert "names latents that this run does not list" in again.html


def test_the_job_does_the_same_run_again_but_for_what_is_removed() -> None:
    names = ["resid_post:5/latent:1", "resid_post:5/latent:4"]
    config = ShiftConfig(nodes=8, train=64, remove="auto", site="resid_post:5")
    words = shift.arguments(vars(config), names)
    parsed = commands.parse("shift", words)
    assert parsed == replace(config, remove=",".join(names))
    assert choices.setting_of(vars(parsed)) == choices.setting_of(vars(config))


# Trust ---------------------------------------------------------------------------------------------------------------


def test_the_ladder_is_that_of_the_bench() -> None:
    from autointerp.ground import functions, puzzles, results
    from autointerp.ground.card import NOTICED
    from autointerp.ground.judging import EXECUTED
    from autointerp.ground.ladder import RUNGS
    from autointerp.ground.tables import TESTS

    assert (scoring.RUNGS, scoring.TESTS, scoring.NOTICED, scoring.EXECUTED) == (RUNGS, TESTS, NOTICED, EXECUTED)
    assert set(scoring.MEANING) == set(RUNGS)
    assert (results.SITE, functions.SITE, puzzles.SITE) == ("planted", "functions", "puzzles")


def test_the_planted_judges_are_those_of_scoring() -> None:
    from autointerp.calibration import TASK
    from data.queries import of_ground

    assert of_ground.JUDGING == TASK


def test_a_scorer_that_misses_the_extent_is_named(more: More, show: Show) -> None:
    shown = show(more.folder, "trust")
    assert figure(shown, "Notice a wrong extent") == "0 of 1 scorers"
    verdicts = dict(zip(column(shown, "trust_order", "Scorer"), column(shown, "trust_order", "Verdict"), strict=True))
    assert verdicts == {"executed": "notices all", "embedding": "misses halved"}
    values = column(shown, "trust_rungs", "embedding")
    assert values[0] == "0.80 [0.70, 0.85]"
    assert values[-1] == "0.40 [0.30, 0.45]"
    assert column(shown, "trust_rungs", "True F1")[1] == "0.70"
    assert next(p["x"] for p in shown.components["trust_ladder_0"]["points"] if p.get("corners") is None) == 0.8
    assert column(shown, "trust_explainers", "Without a text") == [1]


def test_one_planted_feature_marks_labels_that_are_not_below_the_exact_one(more: More, show: Show) -> None:
    shown = show(more.folder, "trust", latent="2")
    labels = dict(zip(column(shown, "trust_labels", "Rung"), column(shown, "trust_labels", "embedding"), strict=True))
    assert labels["exact"] == "0.80"
    assert labels["narrow"] == "1.00 ≥ exact"
    assert labels["broad"] == "0.75"
    assert labels["list"] == "failed"
    assert column(shown, "trust_said", "Said") == [f"no rule {HOSTILE}"]


def test_a_degenerate_judge_is_called_so(more: More, show: Show) -> None:
    shown = show(more.folder, "trust", of="judges")
    verdicts = dict(zip(column(shown, "trust_used", "Judge"), column(shown, "trust_used", "Verdict"), strict=True))
    assert verdicts["yes-man"] == "degenerate"
    assert next(v for k, v in verdicts.items() if k.startswith("judge ")) == "tells right from wrong"
    assert column(shown, "trust_judged", "Right labels") == ["0.80 [0.70, 0.85]"]


def test_methods_that_miss_the_known_circuit_are_marked(more: More, show: Show) -> None:
    shown = show(more.folder, "trust", of="selftest")
    assert figure(shown, "Find all and nothing else") == "1 of 2"
    recall = dict(
        zip(
            column(shown, "trust_selftest hist", "Method"),
            column(shown, "trust_selftest hist", "nodes recall"),
            strict=True,
        )
    )
    assert recall == {"exact": "1.00 (0.20)", "attribution patching": "0.40 (0.20)"}
    assert column(shown, "trust_errors", "Method") == ["relp"]


# Plans ---------------------------------------------------------------------------------------------------------------


def test_a_plan_adds_up_and_names_what_was_never_measured(more: More, show: Show) -> None:
    shown = show(more.folder, "plans")
    assert figure(shown, "Hours") == "92"
    assert figure(shown, "Money") == "$82.00"
    assert figure(shown, "Tokens in") == "400 M"
    assert "71.5 to 143" in shown.html
    assert "lacewing score --workspace" in shown.html
    assert "--scorers fuzzing" in shown.html
    assert column(shown, "plan_parts", "Part")[0] == "reading"
    assert len(shown.components["plan_dots_0"]["points"]) == 2


def test_the_form_is_the_command_line() -> None:
    given = {"features": 5, "tokens": 9, "price_in": 0.15, "price_out": None, "price_hour": 0.0}
    words = plans.arguments(given)
    assert words == ["--features", "5", "--tokens", "9", "--price-in", "0.15", "--price-hour", "0"]
    assert commands.parse("plan-autointerp", words) == PlanConfig(features=5, tokens=9, price_in=0.15, price_hour=0.0)


@pytest.mark.parametrize("value", [None, 0.0, 3.14159, 999.4, 999.6, 1234.0, 4e8, 2.5e12, 7e15])
def test_large_numbers_read_as_in_the_printed_plan(value: float | None) -> None:
    from autointerp.scale import page

    assert plans.short(value) == page.short(value).replace("-", "—")


def test_the_ledger_counts_failures(more: More, show: Show) -> None:
    shown = show(more.folder, "plans")
    assert figure(shown, "Failed") == str(sum(r["state"] != "ok" for r in more.responses))
    assert sum(column(shown, "plan_ledger", "Requests")) == len(more.responses)
    assert "a run that is gone" in column(shown, "plan_ledger", "Verb")
    assert sum(column(shown, "plan_failures", "Requests")) == sum(r["state"] != "ok" for r in more.responses)
