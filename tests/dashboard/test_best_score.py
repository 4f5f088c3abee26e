"""Where one score of a feature is shown, it is one whose unit all features share, on every page the same one."""

from __future__ import annotations

import pytest

from data import queries
from data.queries import Facets, of_explanations, of_judgement, of_search
from data.store import Workspace, append
from data.words import Feature

SCORES = {  # explanation, scorer: statistic, value, control
    ("words", "detection"): ("auroc", 0.7, 0.6),
    ("words", "simulation"): ("correlation", 0.9, 0.1),
    ("causes", "intervention"): ("nats gained", 2.5, 0.5),
    ("older", "embedding"): (None, 0.65, 0.6),  # of a workspace that knew no other statistic
}


@pytest.fixture
def scored(workspace: Workspace) -> Workspace:
    """One feature with three explanations, of which that in nats is farthest above its control."""
    dictionary = {
        "dictionary": "d", "name": "n", "model": "m", "site": "resid_post:1", "layer": 1, "architecture": "topk",
        "latents": 9, "run": "r", "metrics": {},
    }  # fmt: skip
    texts = dict.fromkeys(text for text, _ in SCORES)
    with workspace.write() as db:
        append(db, "dictionaries", [dictionary])
        append(
            db, "features", [{"dictionary": "d", "latent": 3, "density": 0.1, "max_activation": 1.0, "statistics": {}}]
        )
        append(db, "explanations", [
            {"explanation": text, "dictionary": "d", "latent": 3, "explainer": text, "text": f"about {text}", "run": "r"}
            for text in texts
        ])  # fmt: skip
        append(db, "scores", [
            {"explanation": text, "scorer": scorer, "statistic": statistic, "value": value, "control": control,
             "difference": value - control, "trials": 9, "run": "r"}
            for (text, scorer), (statistic, value, control) in SCORES.items()
        ])  # fmt: skip
    return workspace


def test_an_auroc_stands_before_larger_differences_in_other_units(scored: Workspace) -> None:
    (listed,) = queries.features(scored, Facets(sort="above control"))
    judged = of_judgement.described(scored, ("d/3",))["d/3"]
    (found,) = of_search.by_text(scored, "about")
    described = of_search.described(scored, [("d", 3)])["d", 3]
    for row in (listed, judged, found, described):
        assert (row["text"], row["scorer"], row["score"]) == ("about words", "detection", 0.7)
    assert of_explanations.texts(scored, (Feature("d", 3),))[Feature("d", 3)]["text"] == "about words"


@pytest.mark.parametrize(
    ("facets", "text"),
    [
        (Facets(scorer=("intervention",)), "about causes"),
        (Facets(explainer=("causes",)), "about causes"),
        (Facets(scorer=("simulation",)), "about words"),
        (Facets(scorer=("embedding", "intervention")), "about older"),
    ],
)
def test_other_statistics_are_shown_where_they_are_asked_for(scored: Workspace, facets: Facets, text: str) -> None:
    assert [row["text"] for row in queries.features(scored, facets)] == [text]
