"""From names to problems: what is looked up first, and a person's own pairs all the way into the store."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from circuits import mediators
from circuits.config import ProblemConfig
from circuits.problem import Problem
from circuits.setup import Setting, find_mediators, prepare
from data import tasks
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Site

NOUNS = ("dog", "key", "cat", "boy", "girl", "ship", "king", "tree", "road", "wall")
Prepare = Callable[..., Setting]


@pytest.fixture
def prepared(workspace: Workspace, tiny_model: Path) -> Prepare:
    """Whole sites, so that no dictionary is needed."""

    def prepared(**given: object) -> Setting:
        config = ProblemConfig(model=str(tiny_model), sites="resid_post:0", mediators="sites", **given)  # pyright: ignore[reportArgumentType]
        return prepare(workspace, config)

    return prepared


def write(path: Path, prompts: list[str], columns: str = "prompt,answer,counterfactual,counter_answer") -> str:
    """`{}` in a prompt is the plural of a noun, and its singular in the counterfactual."""
    rows = [
        [prompt.format(f"{noun}s"), " are", prompt.format(noun), " is"][: columns.count(",") + 1]
        for prompt in prompts
        for noun in NOUNS
    ]
    path.write_text("\n".join([columns, *map(",".join, rows)]))
    return str(path)


MARKED = ["The {{subject:{}}} near the {{noun:car}}", "The {{subject:old {}}} near the {{noun:big old car}}"]


def test_an_edited_file_is_another_input(prepared: Prepare, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", ["The {} near the car"])
    before = prepared(task=path).inputs
    assert before == prepared(task=path).inputs
    write(tmp_path / "mine.csv", ["The {} behind the car"])
    assert prepared(task=path).inputs != before
    assert "pairs" not in prepared(task="agreement").inputs


def test_both_halves_are_compared_in_one_way(prepared: Prepare, tmp_path: Path) -> None:
    """Also where one half happens to have prompts of one length alone."""
    path = write(tmp_path / "mine.csv", MARKED)
    setting, config = prepared(task=path), ProblemConfig(task=path)
    both = list(tasks.pairs(path, setting.subject.tokenize, prefix=setting.subject.prefix, seed=0))
    short = [pair for pair in both if len(pair.clean) == min(len(p.clean) for p in both)]
    assert 0 < len(short) < len(both)
    roles = ("prefix", "start", "subject", "after subject", "noun")
    assert setting.problem(config, short).places == setting.problem(config, both).places == roles
    assert Problem.of(setting.subject, {}, short).places != roles


def test_a_role_may_have_as_many_tokens_as_it_likes(prepared: Prepare, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", MARKED)
    setting, config = prepared(task=path), ProblemConfig(task=path)
    pairs = list(tasks.pairs(path, setting.subject.tokenize, prefix=setting.subject.prefix, seed=0))
    problem = setting.problem(config, pairs)
    assert len({pair.roles.count("noun") for pair in pairs}) == 2
    assert torch.isfinite(problem.none_metric).all()
    assert problem.total_effect > 0


def test_prompts_alone_need_a_reference_and_a_metric_of_their_own(prepared: Prepare, tmp_path: Path) -> None:
    path = write(tmp_path / "alone.csv", ["The {} near the car"], "prompt,answer")
    with pytest.raises(Mistake, match="'counterfactual' needs a counterfactual for every prompt; .*: .*zero"):
        prepared(task=path)
    with pytest.raises(
        Mistake, match="A logit difference needs two different answers; choose --metric log_probability"
    ):
        prepared(task=path, reference="mean")
    assert prepared(task=path, reference="mean", metric="log_probability")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "nothing"}, "There is no task 'nothing'"),
        ({"task": "none.jsonl"}, "The file of pairs 'none.jsonl' cannot be read: No such file"),
        ({"reference": "zeros"}, "There is no reference 'zeros'. Did you mean 'zero'"),
        ({"metric": "logits"}, "There is no metric 'logits'"),
        ({"positions": "roles"}, "There is no way to gather positions 'roles'. Did you mean 'role'"),
        ({"mediators": "latent"}, "There is no mediator 'latent'. Did you mean 'latents'"),
    ],
)
def test_names_are_looked_up_before_the_model_is(workspace: Workspace, given: dict[str, str], message: str) -> None:
    with pytest.raises(Mistake, match=re.escape(message)):
        prepare(workspace, ProblemConfig(model="/no/such/model", **given))  # pyright: ignore[reportArgumentType]


def test_lengths_that_differ_without_roles_are_found_before_the_dictionaries(prepared: Prepare, tmp_path: Path) -> None:
    path = write(tmp_path / "ragged.csv", ["The {} near the car", "The {} near the big old car"])
    with pytest.raises(Mistake, match="unequal lengths and no roles"):
        prepared(task=path)
    assert prepared(task=path, positions="sum")
    with pytest.raises(Mistake, match="token positions do not correspond"):
        prepared(task=path, positions="each")


def test_a_site_without_a_dictionary(workspace: Workspace, tiny_model: Path) -> None:
    with pytest.raises(Mistake, match=r"no dictionary of .* at resid_post:1. Train one: lacewing train --model"):
        prepare(workspace, ProblemConfig(model=str(tiny_model), sites="resid_post:1"))


def test_each_site_takes_the_first_mediator_that_suits_it(subject: Subject, workspace: Workspace) -> None:
    found = find_mediators(workspace, subject, "resid_post:0,attn_z:1", ["heads", "sites"])
    assert {str(site): one.kind for site, one in found.items()} == {
        "resid_post:0": "site",
        "attn_z:1": "head",
    }
    assert mediators.load("heads").SITES
    assert Site(0) in found
