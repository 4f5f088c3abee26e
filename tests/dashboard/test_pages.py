"""Each page, without a browser: on a full, an empty and broken workspaces, with right and wrong addresses."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from blocks import drawn
from conftest import Shown  # pyright: ignore
from generated import IMAGE, LATENTS, Made

from dashboard import source
from data import parts
from data.store import Workspace, append

Show = Callable[..., Shown]
PAGES = parts.names("dashboard.pages")
NODE = "resid_post:5/latent:3@2"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_the_contract(name: str) -> None:
    page = parts.load("dashboard.pages", name)
    assert page.TITLE
    assert page.ICON.startswith(":material/")
    assert not inspect.signature(page.render).parameters
    assert page.__doc__
    orders = [parts.load("dashboard.pages", other).ORDER for other in PAGES]
    assert orders.count(page.ORDER) == 1


@pytest.mark.parametrize("name", PAGES)
def test_a_page_draws_a_full_workspace(name: str, made: Made, show: Show) -> None:
    assert 'class="lw-head"' in show(made.workspace.folder, name).html


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_an_empty_workspace_says_what_to_do(name: str, workspace: Workspace, show: Show) -> None:
    html = show(workspace.folder, name).html
    assert re.search(r"<code>lacewing [a-z -]+ --workspace", html) or "Choose one from the table of features" in html


@pytest.mark.parametrize("name", PAGES)
def test_no_text_of_the_store_becomes_markup(name: str, made: Made, show: Show) -> None:
    query = {"feature": f"{made.dictionaries['resid_post:5']}/0"} if name == "feature" else {}
    html = show(made.workspace.folder, name, **query).html
    assert "<script" not in html
    assert "<img" not in html
    assert "\u202e" not in html


# Overview ------------------------------------------------------------------------------------------------------------


def test_overview_tells_a_killed_run_from_a_running_one(made: Made, show: Show) -> None:
    rows = show(made.workspace.folder, "overview").components["overview_runs"]["rows"]
    states = {row["cells"][0]["text"]: row["cells"][2]["text"] for row in rows}
    assert states["run000000005"] == "killed"
    assert states["run000000004"] == "failed"
    assert states["run000000006"] == "stopped"
    assert states["run000000000"] == "done"


def test_overview_offers_to_resume_the_killed_training(made: Made, show: Show) -> None:
    assert "lacewing resume run000000005 --workspace" in show(made.workspace.folder, "overview").html


def test_overview_puts_pca_beside_the_dictionaries(made: Made, show: Show) -> None:
    table = show(made.workspace.folder, "overview").components["overview_dictionaries"]
    labels = [column["label"] for column in table["columns"]]
    cells = table["rows"][0]["cells"]
    assert cells[labels.index("Explained variance")] == "0.830"
    assert cells[labels.index("Explained variance") + 1]["text"] == "0.710"


def test_overview_of_an_empty_workspace_shows_the_demo_command(workspace: Workspace, show: Show) -> None:
    assert f"lacewing demo --workspace {workspace.folder}" in show(workspace.folder, "overview").html


# Features ------------------------------------------------------------------------------------------------------------


def test_features_link_to_their_page(made: Made, show: Show) -> None:
    table = show(made.workspace.folder, "features").components["features_table"]
    first = table["rows"][0]["cells"][0]
    assert first["page"] == "feature"
    assert re.fullmatch(r"\w{16}/\d+", first["query"]["feature"])
    assert table["note"].startswith(f"1 to 50 of {2 * LATENTS} ·")


def test_features_take_their_filters_from_the_address(made: Made, show: Show) -> None:
    dictionary = made.dictionaries["resid_post:10"]
    table = show(made.workspace.folder, "features", dictionary=dictionary, state="dead").components["features_table"]
    assert table["note"].startswith(f"1 to {LATENTS // 10} of {LATENTS // 10} ·")
    assert {row["cells"][1] for row in table["rows"]} == {"resid_post:10"}


def test_the_second_page_of_features_differs_from_the_first(made: Made, show: Show) -> None:
    one, two = (show(made.workspace.folder, "features", page=n).components["features_table"] for n in ("1", "2"))
    assert two["note"].startswith("51 to 100")
    assert {r["cells"][0]["text"] for r in one["rows"]}.isdisjoint(r["cells"][0]["text"] for r in two["rows"])


def test_features_that_no_filter_fits_say_so(made: Made, show: Show) -> None:
    assert "No feature fits these filters" in show(made.workspace.folder, "features", text="zebra").html


# Feature -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nonsense", "is not a feature; write DICTIONARY/LATENT"),
        ("0123456789abcdef/3", "There is no dictionary"),
        ("{known}/4096", "has 4096 latents (0 to 4095); there is no latent 4096."),
        ("{known}/2000", "Nothing is recorded of feature"),
    ],
)
def test_a_wrong_feature_is_a_sentence_with_a_way_on(name: str, sentence: str, made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "feature", feature=name.format(known=made.dictionaries["resid_post:5"]))
    assert sentence in shown.html.replace("&#x27;", "'")
    assert len(shown.app.get("page_link")) == 2


# Circuit -------------------------------------------------------------------------------------------------------------


def test_circuit_shows_the_most_important_nodes_and_their_edges(made: Made, show: Show) -> None:
    graph = drawn(show(made.workspace.folder, "circuit", size="40"))
    assert len(graph["x"]) == 41  # and the metric's own
    assert all(s != t and max(s, t) < 41 for s, t in zip(graph["source"], graph["target"], strict=True))
    assert [row["name"] for row in graph["rows"]] == ["logits", "resid_post:10", "resid_post:5"]


def test_circuit_tells_verified_from_estimated(made: Made, show: Show) -> None:
    page = show(made.workspace.folder, "circuit", size="200")
    shown = page.components
    assert np.isfinite(drawn(page)["verified"]).sum() == 60
    exact = [row["cells"][5]["text"] for row in shown["nodes"]["rows"]]
    assert sum(text != "—" for text in exact) == 60
    assert len(shown["calibration"]["points"]) == 59  # the metric's own node is no test of the estimate


def test_the_node_in_the_address_is_selected_everywhere(made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "circuit", node=NODE, size="20")
    assert shown.components["graph"]["selected"] == NODE
    assert NODE in drawn(shown)["ids"]  # though it is not among the first 20
    assert shown.components["nodes"]["selected"] == NODE
    assert f"<h2>{NODE}</h2>" in shown.html


def test_edges_of_the_node_lead_on(made: Made, show: Show) -> None:
    shown = show(made.workspace.folder, "circuit", node=NODE)
    with made.workspace.read() as db:
        sql = "select target from edges where source = ? order by abs(effect) desc"
        targets = [target for (target,) in db.execute(sql, [NODE]).fetchall()]
    assert [row["id"] for row in shown.components["edges_target"]["rows"]] == targets


def test_the_curve_has_intervals_a_control_and_the_slider(made: Made, show: Show) -> None:
    curve = show(made.workspace.folder, "circuit", size="77").components["curve"]
    assert [s["name"] for s in curve["series"]][:2] == ["faithfulness", "completeness"]
    assert [s["name"] for s in curve["series"]][2] == "random nodes, faithfulness"
    assert all(p["lower"] <= p["y"] <= p["upper"] for s in curve["series"][:2] for p in s["points"])
    assert curve["marker"]["value"] == 77
    assert "faithfulness goes from" in curve["alt"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"circuit": "c1rcu1t000000002"}, "Did you mean 'c1rcu1t000000001'?"),
        ({"size": "many"}, "size = 'many' in the address is not a number of nodes; it should be 1 to 200"),
        ({"node": "resid_post:5/latent:99@2"}, "There is no node in this circuit 'resid_post:5/latent:99@2'"),
    ],
)
def test_a_wrong_circuit_address_is_a_sentence(query: dict[str, str], sentence: str, made: Made, show: Show) -> None:
    assert sentence in show(made.workspace.folder, "circuit", **query).html.replace("&#x27;", "'")


def test_a_circuit_without_nodes_says_why(workspace: Workspace, made: Made, show: Show) -> None:
    with made.workspace.read() as db:
        columns = [d[0] for d in db.execute("select * from circuits").description or []]
        values = db.execute("select * from circuits").fetchall()[0]
    with workspace.write() as db:
        append(db, "circuits", [dict(zip(columns, values, strict=True))])
    assert "the run that traced it did not finish" in show(workspace.folder, "circuit").html


# Broken workspaces ---------------------------------------------------------------------------------------------------


def test_a_missing_workspace_is_a_sentence(tmp_path: Path, show: Show) -> None:
    assert "There is no workspace in" in show(tmp_path / "nowhere", "overview").html


def test_a_newer_workspace_is_a_sentence(workspace: Workspace, show: Show) -> None:
    with workspace.write() as db:
        db.execute("insert into migrations values ('9999_future', now()::timestamp)")
    assert "newer than this lacewing knows" in show(workspace.folder, "overview").html


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path, show: Show) -> None:
    (tmp_path / "lacewing.duckdb").write_text("not a database at all" * 100)
    assert "cannot be opened as a DuckDB file" in show(tmp_path, "overview").html


@pytest.fixture
def locked(workspace: Workspace) -> Iterator[Workspace]:
    """A workspace whose file another process holds open for writing."""
    code = "import duckdb, sys; db = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(workspace.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield workspace
        holder.kill()


def test_a_locked_workspace_is_a_sentence(locked: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PATIENCE", 0.2)
    assert "locked by another process" in show(locked.folder, "overview").html


def test_hostile_texts_are_in_the_data(made: Made, show: Show) -> None:
    """The other tests would pass if the hostile texts were missing; they are shown, as text."""
    text = show(made.workspace.folder, "feature", feature=f"{made.dictionaries['resid_post:5']}/0").text
    assert IMAGE[1:20] in text
    assert "⟨202E⟩" in text
