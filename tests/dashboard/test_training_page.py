"""The training page: curves, held-out curves and the front, without a browser and in one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import Shown  # pyright: ignore
from generated import HOSTILE

from data import queries
from data.store import Workspace, append
from training.evaluate import COLUMNS

Show = Callable[..., Shown]
RUN = "sweep00000001"
STEPS = 1200
KINDS = [("topk", 16), ("topk", 32), ("batchtopk", 16), ("batchtopk", 32)]


def names(architecture: str, k: int) -> list[str]:
    return [f"resid_post:5 {architecture} 64 k={k} lr=0.002 seed={seed}" for seed in range(2)]


def grid(folder: Path) -> Workspace:
    """A sweep of two architectures, two k and two seeds, with curves of 1,200 steps; batchtopk is better."""
    workspace = Workspace.open(folder, create=True)
    rows = [dictionary(a, k, seed) for a, k in KINDS for seed in range(2)]
    with workspace.write() as db:
        append(db, "runs", [run_row([row["dictionary"] for row in rows])])
        append(db, "dictionaries", rows)
    for start in range(0, STEPS, 50):
        part = [step(name, k, n) for a, k in KINDS for name in names(a, k) for n in range(start + 1, start + 51)]
        workspace.write_part(f"metrics/{RUN}/part-{start + 50:08d}.parquet", pa.Table.from_pylist(part))
    for n in (400, 800, 1200):
        part = [held(name, place, n) for place, name in enumerate(n for a, k in KINDS for n in names(a, k))]
        schema = COLUMNS.append(pa.field("dictionary", pa.string()))
        workspace.write_part(f"metrics/{RUN}/heldout-{n:08d}.parquet", pa.Table.from_pylist(part, schema=schema))
    return workspace


def run_row(made: list[str]) -> dict[str, Any]:
    config = {"model": "m", "architecture": "topk,batchtopk", "sites": "resid_post:5", "tokens": 76_800, "batch": 64}
    return {
        "run": RUN, "verb": "sweep", "config": config, "recipe": "r", "seed": 0, "version": "0.1.0", "packages": {},
        "status": "done", "started": datetime(2026, 11, 22, 9), "finished": datetime(2026, 11, 22, 10), "error": None,
        "pid": 1, "host": "h", "summary": {"seconds": 61.0, "peak_memory": 10**9, "mixing": 40.5, "dictionaries": made},
    }  # fmt: skip


def dictionary(architecture: str, k: int, seed: int) -> dict[str, Any]:
    value = {"topk": 0.7, "batchtopk": 0.8}[architecture] + k / 400 + seed / 1000
    metrics = {
        "place": 0, "k": k, "seed": seed, "learning_rate": 2e-3, "l0": float(k), "dead": 0.04,
        "explained_variance": value, "ce_recovered": value + 0.05, "pca_explained_variance": 0.5 + k / 400,
    }  # fmt: skip
    return {
        "dictionary": f"{architecture}{k}{seed}".rjust(16, "0"), "name": f"resid_post:5 {architecture} 64 k={k}",
        "model": "m", "site": "resid_post:5", "layer": 5, "architecture": architecture, "latents": 64, "run": RUN,
        "metrics": metrics,
    }  # fmt: skip


def step(name: str, k: int, number: int) -> dict[str, Any]:
    learned = 1 - 1 / (1 + number / 60)
    return {
        "step": number, "tokens": number * 64, "site": "resid_post:5", "dictionary": name, "loss": 1 - learned,
        "explained_variance": (0.9 if "batch" in name else 0.8) * learned, "l0": float(k), "dead": 0.3 * learned,
        "time": 0.0,
    }  # fmt: skip


def held(name: str, place: int, number: int) -> dict[str, Any]:
    value = 1 - 1 / (1 + number / 60)
    return {
        "step": number, "tokens": number * 64, "place": place, "site": "resid_post:5", "explained_variance": value,
        "ce_recovered": value, "kl": 1 - value, "dictionary": name, "density_never": 64 - number // 40,
        "density_counts": [0] * 10 + [number // 40] + [0] * 9,
    }  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return grid(tmp_path_factory.mktemp("trained") / "workspace")


def test_a_curve_is_thinned_by_means_of_neighbouring_steps(trained: Workspace) -> None:
    rows = queries.training_curve(trained, RUN, points=100)
    name = names("topk", 16)[0]
    mine = [row for row in rows if row["dictionary"] == name]
    assert [row["step"] for row in mine] == list(range(12, 1201, 12))
    first = [step(name, 16, n)["explained_variance"] for n in range(1, 13)]
    assert mine[0]["explained_variance"] == pytest.approx(sum(first) / 12)
    assert len(queries.training_curve(trained, RUN)) == 500 * 8
    assert len(queries.training_curve(trained, RUN, points=5000)) == STEPS * 8  # a short one is left as it is
    assert queries.training_curve(trained, "nothing") == []


def test_lines_pool_seeds_and_are_named_by_what_differs(trained: Workspace, show: Show) -> None:
    found = show(trained.folder, "training").components
    series = found["batch_explained_variance"]["series"]
    assert [line["name"] for line in series] == ["batchtopk k=16", "batchtopk k=32", "topk k=16", "topk k=32"]
    assert all(len(line["points"]) == 500 for line in series)
    assert len({(line["style"], line["dash"]) for line in series}) == 4
    assert series[0]["points"][-1]["y"] > series[2]["points"][-1]["y"]
    assert [p["x"] for p in found["heldout_kl"]["series"][0]["points"]] == [400, 800, 1200]


def test_the_front_is_drawn_with_its_baseline_and_told_in_a_table(trained: Workspace, show: Show) -> None:
    found = show(trained.folder, "training", run=RUN).components
    marks = found["front_resid_post:5_explained_variance"]
    assert {p["label"]: p["fill"] for p in marks["points"]} == {"1": "hollow", "2": "", "3": "hollow", "4": ""}
    assert len({p["corners"] for p in marks["points"]}) == 2
    assert [p["y"] for p in marks["series"][0]["points"]] == [0.54, 0.54, 0.58, 0.58]
    table = found["training_front"]
    labels = [column.get("label", "") for column in table["columns"]]
    cells = [row["cells"] for row in table["rows"]]
    assert [row[labels.index("Front")]["text"] for row in cells] == ["< 2", "front", "< 4", "front"]
    assert [row[labels.index("Seeds")] for row in cells] == ["2"] * 4
    assert cells[0][labels.index("EV")].startswith("0.740 ± ")


def test_curves_go_by_tokens_when_the_address_says_so(trained: Workspace, show: Show) -> None:
    found = show(trained.folder, "training", axis="tokens").components
    assert found["batch_l0"]["x"]["label"] == "tokens"
    assert found["batch_l0"]["series"][0]["points"][-1]["x"] == STEPS * 64
    assert [p["x"] for p in found["heldout_kl"]["series"][0]["points"]] == [400 * 64, 800 * 64, 1200 * 64]


def test_densities_drift_from_the_first_look_to_the_last(trained: Workspace, show: Show) -> None:
    shown = show(trained.folder, "training", drift=names("batchtopk", 32)[0])
    looks = shown.components["density_drift"]["series"]
    assert [look["name"] for look in looks] == ["step 400", "step 800", "step 1,200"]
    assert [sum(p["y"] for p in look["points"]) for look in looks] == [10, 20, 30]
    assert "54 never fire at step 400; 44 never fire at step 800; 34 never fire at step 1,200" in shown.html
    assert "heldout_l0" not in shown.components  # nothing of it was recorded


def test_runs_are_drawn_beside_each_other(tmp_path: Path, show: Show) -> None:
    workspace = grid(tmp_path / "workspace")
    other = "train00000002"
    row = run_row([]) | {"run": other, "verb": "train", "started": datetime(2026, 11, 21, 9)}
    row["config"] = row["config"] | {"batch": 128}
    with workspace.write() as db:
        append(db, "runs", [row])
    part = [step(names("topk", 16)[0], 16, n) for n in range(1, 101)]
    workspace.write_part(f"metrics/{other}/part-00000100.parquet", pa.Table.from_pylist(part))
    alone = show(workspace.folder, "training", run=RUN).components["batch_l0"]["series"]
    assert all(RUN[:6] not in line["name"] for line in alone)
    both = show(workspace.folder, "training", run=RUN, beside=f"{other},nothing", axis="tokens")
    lines = {line["name"]: line for line in both.components["batch_l0"]["series"]}
    assert len(lines) == 5
    assert lines["train0 topk k=16"]["points"][-1]["x"] == 100 * 128  # its own batch
    assert lines["sweep0 topk k=16"]["points"][-1]["x"] == STEPS * 64
    assert both.app.multiselect[0].value == [other]


def test_a_run_that_is_not_there_is_a_sentence(trained: Workspace, show: Show) -> None:
    html = show(trained.folder, "training", run="nothing").html
    assert "There is no training run &#x27;nothing&#x27;" in html


def test_a_killed_run_without_curves_offers_to_go_on(made: Any, show: Show) -> None:
    html = show(made.workspace.folder, "training").html
    assert "lacewing resume run000000005 --workspace" in html
    assert "No step has been recorded of this run." in html


def test_names_in_the_parts_stay_text(tmp_path: Path, show: Show) -> None:
    workspace = grid(tmp_path / "workspace")
    rows = [step(f"resid_post:5 {HOSTILE} seed=0", 4, 1201), step("resid_post:5 other seed=0", 4, 1201)]
    workspace.write_part(f"metrics/{RUN}/part-{1201:08d}.parquet", pa.Table.from_pylist(rows))
    assert "<script" not in show(workspace.folder, "training").html


# In a browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(trained: Workspace) -> Iterator[str]:
    from dashboard.screenshots import served

    with served(trained) as found:
        yield found


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_in_a_browser(theme: str, address: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    from dashboard.screenshots import browser_path

    if browser_path() is None:
        pytest.skip("no chromium-headless-shell or chromium in /usr/bin")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1400, "height": 1000}, color_scheme=theme).new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{address}/training?run={RUN}")
        page.locator("table[aria-label=Front] tbody tr").nth(3).wait_for(timeout=20_000)
        page.locator("svg[aria-label^='CE recovered against L0'] polygon").first.wait_for(timeout=20_000)
        sizes = page.evaluate("""() => [...document.querySelectorAll('*')].map(e => e.shadowRoot).concat([document])
            .filter(Boolean).flatMap(root => [...root.querySelectorAll('svg[role=img] text')])
            .map(e => parseFloat(getComputedStyle(e).fontSize))""")
        assert sizes
        assert min(sizes) >= 12
        assert page.locator(".stException").count() == 0
        page.locator("table[aria-label='Training runs'] a").first.click()
        page.wait_for_url(re.compile(rf"/training\?run={RUN}$"))
        browser.close()
    assert faults == []
