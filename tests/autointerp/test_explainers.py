"""Explainers as a run uses them: several in a run, the rule beside each text, states that are counted."""

from __future__ import annotations

import json
from typing import Any

import planted
import pytest

from autointerp.cases import Case
from autointerp.config import ExplainConfig
from autointerp.examples import Reader
from autointerp.explain import explain, explainers_of, features_of, identity
from autointerp.explainers.local import Options as LocalOptions
from autointerp.tools import Tools
from data import parts, runs
from data.errors import Mistake
from data.store import Workspace
from data.words import Feature

GOOD = ",".join(f"{planted.DICTIONARY}/{n}" for n in (0, 1, 6))
pytestmark = pytest.mark.usefixtures("stand_ins")


def rows(workspace: Workspace) -> list[dict[str, Any]]:
    with workspace.read() as db:
        result = db.execute("select * from explanations order by explainer, latent")
        names = [column[0] for column in result.description or []]
        found = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    return [row | {"details": json.loads(row["details"])} for row in found]


def test_several_explainers_in_a_run_each_with_the_best_rule_beside_it(planted_workspace: Workspace) -> None:
    made = explain(planted_workspace, ExplainConfig(features=GOOD, explainer="rule,token_lift,rule:most=2,rule"))
    found = rows(planted_workspace)
    assert len(made.explanations) == len(found) == 9
    assert [r["explainer"] for r in found[::3]] == ["rule", "rule:most=2", "token_lift"]
    for row in found:
        assert row["state"] == "explained"
        assert row["rule_f1"] == row["rule_f1_lower"] == 1 or row["explainer"] == "rule:most=2"
        assert row["rule_control"] < 0.2
        assert row["rule_difference_lower"] > 0.5
        assert row["rule_fired"] > 20
    best = {r["latent"]: json.loads(r["rule"]) for r in found if r["explainer"] == "rule"}
    assert all(json.loads(r["rule"]) == best[r["latent"]] for r in found if r["explainer"] == "token_lift")
    narrow = [r["rule_f1"] for r in found if r["explainer"] == "rule:most=2"]
    assert max(narrow) < 1


def test_states_are_counted(planted_workspace: Workspace) -> None:
    features = ",".join(f"{planted.DICTIONARY}/{n}" for n in (0, 3, 4))
    made = explain(planted_workspace, ExplainConfig(features=features, explainer="rule,vocabulary"))
    states = runs.find(planted_workspace, made.run)["summary"]["states"]
    assert states == {"dead": 1, "explained": 4, "too rare": 1}
    failed = [r for r in rows(planted_workspace) if r["state"] in ("dead", "too rare")]
    assert all(r["rule"] is r["precision"] is None for r in failed)


def test_the_id_covers_the_whole_recipe(planted_workspace: Workspace) -> None:
    settings = [
        {},
        {"explainer": "rule:most=3"},
        {"explainer": "rule:by=information"},
        {"explainer": "llm"},
        {"explainer": "llm", "llm_model": "large"},
        {"explainer": "local"},
        {"explainer": "local", "judge": "small"},
        {"windows": 12},
        {"seed": 1},
        {"context": 10},
        {"sampler": "top"},
        {"features": "d1c7/1"},
    ]
    configs = [ExplainConfig(**({"features": "d1c7/0", "explainer": "rule"} | one)) for one in settings]
    reader = Reader(planted_workspace, planted.DICTIONARY)
    cases = [Case(Feature.parse(c.features), reader, {}, c.windows, c.seed, c.drawing) for c in configs]
    names = [identity(case, explainers_of(config)[0], config) for case, config in zip(cases, configs, strict=True)]
    assert len(set(names)) == len(settings)
    same = ExplainConfig(features="d1c7/0", explainer="rule", llm_model="large", judge="small", limit=3)
    assert identity(cases[0], explainers_of(same)[0], same) == names[0]  # what a rule does not depend on


def test_a_sample_is_of_features_that_fire_and_is_drawn_by_the_seed(planted_workspace: Workspace) -> None:
    drawn = [[f.latent for f in features_of(planted_workspace, "sample", seed)] for seed in range(8)]
    assert {tuple(sorted(one)) for one in drawn} == {(0, 1, 2, 4, 5, 6)}  # 3 is dead
    assert len({tuple(one) for one in drawn}) > 4
    assert features_of(planted_workspace, "sample:d1") == features_of(planted_workspace, "sample")
    with pytest.raises(Mistake, match=r"^This workspace has no dictionary 'zz' with features that fire in a harvest"):
        features_of(planted_workspace, "sample:zz")


@pytest.mark.parametrize(
    ("explainer", "message"),
    [
        ("rule:by=luck", r"^by is 'luck'; a rule can be chosen by f1 or by information\.$"),
        ("rule:most=0", r"^most is 0; a rule has at least 1 token or word\.$"),
        ("rule:best=2", r"best"),
    ],
)
def test_settings_that_are_not_there(planted_workspace: Workspace, explainer: str, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        explain(planted_workspace, ExplainConfig(features=GOOD, explainer=explainer))


def local(reader: Reader, **options: Any) -> list[Any]:
    cases = [Case(Feature(planted.DICTIONARY, n), reader, {}, 16, 0) for n in (0, 1, 2)]
    with Tools(reader.workspace) as tools:
        return list(parts.load("autointerp.explainers", "local").explain(cases, tools, LocalOptions(**options)))


def test_the_local_explainer_may_have_rules_among_its_candidates(planted_workspace: Workspace) -> None:
    reader = Reader(planted_workspace, planted.DICTIONARY)
    found = local(reader, rules=True)
    for one in found:
        rules = [c for c in one.details["candidates"] if c["source"] == "rule"]
        assert rules
        assert max(c["rule"] for c in rules) == 1  # the planted rule, run in each window
        assert ("rule" in one.details) == (one.text in {c["text"] for c in rules})
    assert all(c["source"] != "rule" for one in local(reader) for c in one.details["candidates"])


def test_the_local_explainer_can_compare_on_documents_kept_back(
    planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    window = Reader.window

    def watched(self: Reader, document: int, *rest: Any) -> Any:
        read.add(self.half[document])
        return window(self, document, *rest)

    monkeypatch.setattr(Reader, "window", watched)
    reader = Reader(planted_workspace, planted.DICTIONARY)
    assert all(one.text for one in local(reader, held=0.4))
    assert read == {"explain", "select"}
    with pytest.raises(Mistake, match=r"^held is 1; a part of the documents is from 0 to below 1\.$"):
        LocalOptions(held=1.0)
