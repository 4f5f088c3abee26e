"""The pages on what the verbs really write: a comparison, clusters, a probe on the tiny model, a bench, a plan."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
import torch
from conftest import Shown  # pyright: ignore
from generated_comparison import BENCH, More, shared
from tracr import Basis

from autointerp.ground import results
from autointerp.ground.tables import tables
from autointerp.scale import page as printed
from autointerp.scale.plan import plan, plan_autointerp
from autointerp.scale.plan_config import PlanConfig
from autointerp.scale.rates import measured
from circuits import cluster_record, diff, diff_text
from circuits.cluster_record import Cluster, Found
from circuits.contexts import Context
from circuits.diff_config import DiffConfig
from circuits.grouping import Cohesion
from circuits.mediators import mediator
from circuits.shift import run as shift_run
from circuits.shift.config import ShiftConfig
from circuits.splice import SelfCheck
from data import choices, queries, runs
from data.models import Subject
from data.queries import of_comparison
from data.store import Workspace, append
from data.words import Estimate, Site
from training.dictionary import Dictionary

Show = Callable[..., Shown]
TESTS = Path(__file__).parent.parent


def helper(path: str) -> ModuleType:
    """A module of another folder of tests, which is on nobody's path."""
    name = f"borrowed_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, TESTS / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def column(shown: Shown, table: str, label: str) -> list[Any]:
    data = shown.components[table]
    at = [c["label"] for c in data["columns"]].index(label)
    cells = [row["cells"][at] for row in data["rows"]]
    return [cell["text"] if isinstance(cell, Mapping) else cell for cell in cells]


def test_a_comparison_that_was_run(workspace: Workspace, show: Show) -> None:
    borrowed = helper("circuits/comparisons.py")
    g = torch.Generator().manual_seed(0)
    left, right = (2 + 0.3 * torch.randn(40, 4, generator=g) for _ in range(2))
    left[:, 2], right[:, 0], right[:, 3] = 0, right[:, 0] + 2, -right[:, 3]
    borrowed.write_circuit(workspace, "left", left[:, [0, 1, 3, 2]], 3)
    borrowed.write_circuit(workspace, "right", right[:, [0, 1, 3, 2]], 4)
    assert "Not tested" in show(workspace.folder, "compare", a="left", b="right").html
    diff.diff(workspace, DiffConfig("left", "right", rate=0.01))
    shown = show(workspace.folder, "compare", a="left", b="right")
    record = of_comparison.tested(workspace, "left", "right")
    assert record is not None
    for line in diff_text.sentences("left", "right", record["summary"]):
        assert line in shown.html
    rows = queries.differences(workspace, record["run"])
    names = column(shown, "compare_differences", "Node or edge")
    assert sorted(names) == sorted(row["left_name"] for row in rows)
    assert {word.split(" ", 1)[1] for word in column(shown, "compare_differences", "Finding")} == {
        r["status"] for r in rows
    }
    turned = show(workspace.folder, "compare", a="right", b="left")
    assert sorted(column(turned, "compare_differences", "Node or edge")) == sorted(names)


def test_clusters_that_were_stored(workspace: Workspace, show: Show) -> None:
    subject = SimpleNamespace(prefix=(0,), spell=lambda ids: [f" w{i}" for i in ids])
    bench = cast(Any, SimpleNamespace(recipe="r", config=SimpleNamespace(vectors="effects"), subject=subject))
    members = tuple(Context((99, n, n + 1), 40 + n % 2, 0.1, n) for n in range(5))
    sure = Cohesion(Estimate(0.8, 0.7, 0.9), Estimate(0.5, 0.4, 0.6))
    with runs.start(workspace, "clusters", {"model": "tiny"}) as run:
        check = SelfCheck(0.0, {}, 0, True)
        cluster_record.store(workspace, bench, run.run, check, Cluster(0, members, sure), Found("too few"))
        cluster_record.store(workspace, bench, run.run, check, Cluster(1, members[:1], None), Found("alone"))
    shown = show(workspace.folder, "clusters", cluster="0")
    said = cluster_record.summary(workspace, "r")
    assert said.startswith("2 clusters, 1 of them more alike than shuffled ones. 0 have a circuit")
    assert re.search(r'Surely cohesive</span><span class="lw-value">1<', shown.html)
    assert column(shown, "clusters_list", "Next tokens") == [" w40 3,  w41 2", " w40 1"]
    assert '<span class="lw-t"> w99</span>' not in shown.html  # the prefix is no text
    assert "It has no circuit: too few" in shown.html
    assert "No cluster of this clustering has a circuit." in shown.html


class Relu(Basis):
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu((x - self.b_dec) @ self.W_enc - 0.3)


def test_a_probe_that_was_looked_into(
    workspace: Workspace, subject: Subject, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = {}
    for site in (Site(0), Site(1)):
        g = torch.Generator().manual_seed(site.layer)
        decoder = torch.nn.functional.normalize(torch.randn(48, subject.d_model, generator=g), dim=1)
        basis = Relu(decoder.T.clone(), decoder, torch.zeros(subject.d_model))
        one = Dictionary(f"d{site.layer}", "planted", subject.digest, site, 48, subject.d_model, basis)
        placed[site] = mediator("latents", subject, site, one)
    monkeypatch.setattr(shift_run, "find_mediators", lambda *_: placed)
    config = ShiftConfig(model=subject.name, train=8, test=8, discovery=4, nodes=3, draws=1, remove="none")
    shift_run.shift(workspace, config)
    shown = show(workspace.folder, "shift")
    [record] = queries.rows(workspace, "select * from runs")
    setting = choices.setting_of(record["config"])
    listed = [row["id"] for row in shown.components[f"shift_{setting}"]["rows"]]
    assert len(listed) == 3
    kept = choices.save(workspace, setting, listed[:2])
    shift_run.shift(workspace, ShiftConfig(**{**vars(config), "remove": str(kept.path)}))
    again = show(workspace.folder, "shift")  # a person's choice was run: its results are shown
    assert column(again, "shift_scores", "Classifier")[0] == "original"
    removed = dict(
        zip(column(again, "shift_scores", "Classifier"), column(again, "shift_scores", "Removed"), strict=True)
    )
    assert removed["SHIFT"] == removed["random latents"] == "2"
    [score] = queries.rows(
        workspace,
        "select s.* from shift_scores s join runs using (run) where classifier = 'SHIFT' and measure = 'label'",
    )
    at = column(again, "shift_scores", "Classifier").index("SHIFT")
    assert column(again, "shift_scores", "label")[at].startswith(f"{100 * score['value']:.1f} %")


def test_a_bench_says_what_its_printed_tables_say(
    tmp_path_factory: pytest.TempPathFactory, workspace: Workspace, show: Show
) -> None:
    more: More = shared(tmp_path_factory)
    ground, explained = (queries.rows(more.made.workspace, f"from {t}") for t in ("ground", "ground_explained"))
    with runs.start(workspace, "bench-autointerp", {"seed": 0}) as run:
        for table, rows in (("ground", ground), ("ground_explained", explained)):
            with workspace.write() as db:
                append(db, table, [row | {"run": run.run} for row in rows])
        run.summary |= {"features": 3, "tokens": 9, "left_out": []}
        results.store(run, 0)
    assert run.run != BENCH
    shown, text = show(workspace.folder, "trust"), tables(workspace, run.run)
    for table, label in (("trust_rungs", "embedding"), ("trust_order", "Order"), ("trust_judges", "Right − foreign")):
        for said in column(shown, table, label):
            value = said.split(" ")[0].replace("−", "-").replace("—", "")
            assert value in text, (table, said)
    order = dict(zip(column(shown, "trust_order", "Scorer"), column(shown, "trust_order", "Verdict"), strict=True))
    assert "halved" in order["embedding"]
    assert re.search(r"embedding.*halved", text)


def test_a_plan_says_what_its_printed_page_says(workspace: Workspace, show: Show) -> None:
    helper("autointerp/test_scale_plan.py").fill(workspace)
    config = PlanConfig(features=1000, tokens=100_000, price_in=1.0, price_out=2.0, price_hour=0.5)
    plan_autointerp(workspace, config)
    shown, page = show(workspace.folder, "plans"), printed.page_of(plan(measured(workspace), config))
    [parts, totals] = page.sheets
    cells = {row[0]: dict(zip(parts.columns, row, strict=True)) for row in parts.rows}
    names = [f"{s} {p}" for s, p in zip(*(column(shown, "plan_parts", c) for c in ("Stage", "Part")), strict=True)]
    assert len(names) == len(cells)
    for name, hours, tokens in zip(
        names, column(shown, "plan_parts", "Hours"), column(shown, "plan_parts", "Tokens in"), strict=True
    ):
        row = next(row for key, row in cells.items() if key.split("<")[0] == name.split("<")[0])
        assert (hours, tokens) == (row["hours"], row["tokens in"].replace("-", "—"))
    whole = dict(zip(totals.columns, totals.rows[-1], strict=True))
    assert f'lw-value">{whole["hours"]}<' in shown.html
    assert page.missing
    for _, command in page.missing:
        verb, _, rest = command.removeprefix("lacewing ").partition(" ")
        assert re.search(rf"<code>lacewing {verb} --workspace [^<]* {re.escape(rest)}</code>", shown.html), command
