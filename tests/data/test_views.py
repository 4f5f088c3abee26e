"""Saved views: ids, names, and what is said of an unknown one."""

from __future__ import annotations

import pytest

from data import queries, views
from data.errors import Mistake
from data.queries import of_views
from data.store import Workspace

STATE = {"circuit": "c1", "pinned": ["logit@3"], "groups": [{"name": "<b>plural</b> 'nouns'", "nodes": ["a", "b"]}]}


def test_a_state_comes_back_as_it_was(workspace: Workspace) -> None:
    found = views.load(workspace, views.save(workspace, "circuit", STATE, "first look"))
    assert (found.page, found.state, found.name) == ("circuit", STATE, "first look")
    assert found.author


def test_the_same_state_is_the_same_view_and_is_written_once(workspace: Workspace) -> None:
    first = views.save(workspace, "circuit", STATE)
    before = queries.version(workspace)
    assert views.save(workspace, "circuit", dict(reversed(STATE.items()))) == first
    assert queries.version(workspace) == before
    assert views.save(workspace, "feature", STATE) != first
    assert views.save(workspace, "circuit", STATE | {"pinned": []}) != first
    assert len(first) == 10


def test_the_start_of_an_id_is_enough(workspace: Workspace) -> None:
    view = views.save(workspace, "circuit", STATE)
    assert views.load(workspace, view[:6]).view == view


def test_an_unknown_view_is_a_sentence_with_the_known_ones(workspace: Workspace) -> None:
    view = views.save(workspace, "circuit", STATE)
    with pytest.raises(Mistake, match=rf"There is no view '{view[:-2]}zz'\. Did you mean '{view}'\? Known: {view}\."):
        views.load(workspace, view[:-2] + "zz")
    with pytest.raises(Mistake, match="There is no view ''"):
        views.load(workspace, "")


def test_only_named_views_are_listed_and_a_name_can_be_taken_back(workspace: Workspace) -> None:
    views.save(workspace, "circuit", STATE | {"pinned": []})
    view = views.save(workspace, "circuit", STATE)
    assert of_views.named(workspace, "circuit") == []
    views.rename(workspace, view, "  plural \n nouns ")
    [row] = of_views.named(workspace, "circuit", "c1")
    assert (row["view"], row["name"], row["state"]) == (view, "plural nouns", STATE)
    assert of_views.named(workspace, "circuit", "c2") == of_views.named(workspace, "feature") == []
    views.rename(workspace, view, "")
    assert of_views.named(workspace, "circuit") == []


def test_what_cannot_be_a_view_is_a_sentence(workspace: Workspace) -> None:
    view = views.save(workspace, "circuit", STATE)
    with pytest.raises(Mistake, match="has 200 characters; give a view at most 120"):
        views.rename(workspace, view, "n" * 200)
    with pytest.raises(Mistake, match="There is no view 'nothing'"):
        views.rename(workspace, "nothing", "a name")
    with pytest.raises(Mistake, match=r"This view of circuit has 2,000,0\d\d characters; at most 2,000,000"):
        views.save(workspace, "circuit", {"pinned": ["n" * 2_000_000]})
