"""The page for very many features: closed forms over a workspace whose runs are written by hand."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from autointerp.scale import page
from autointerp.scale.plan import Plan, plan, plan_autointerp
from autointerp.scale.plan_config import PlanConfig
from autointerp.scale.rates import Harvest, mean, measured
from autointerp.shards import Files
from data import parts, runs
from data.errors import Mistake
from data.store import Workspace, append

TOKENS, DOCUMENTS, LATENTS, ACTIVE = 1000, 10, 50, 3000
LABEL = "llm:examples=20"
NASTY = "llm:model=<script>|`x`\n"


def run(workspace: Workspace, verb: str, summary: dict[str, Any]) -> str:
    with runs.start(workspace, verb, {"n": len(json.dumps(summary))}) as begun:
        begun.summary |= summary
    return begun.run


def phase(steps: float, seconds: float, tenths: list[float] | None = None) -> dict[str, Any]:
    return {"steps": steps, "seconds": seconds, "tenths": tenths or []}


@pytest.fixture(scope="module")
def known_folder(empty_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = shutil.copytree(empty_folder, tmp_path_factory.mktemp("plan") / "known")
    return fill(Workspace(made)).folder


@pytest.fixture
def known(known_folder: Path, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(known_folder, tmp_path / "workspace"))


def fill(empty: Workspace) -> Workspace:
    """A harvest, an explain run and score runs, whose speeds are round numbers."""
    tenths = [0.8] * 5 + [1.2] * 5
    phases = {"reading": phase(DOCUMENTS, 10.0, tenths), "sorting": phase(2 * LATENTS, 3.0)}
    made = run(empty, "harvest", {"harvest": "h", "tokens": TOKENS, "documents": DOCUMENTS, "phases": phases})
    files = Files(empty, "h")
    for name in ("a", "b"):
        files.write(files.part(name, 0), pa.table({"latent": np.zeros(ACTIVE // 2, np.int32)}))
    files.write(files.tokens(0), pa.table({"document": [0]}))
    base = {"model": "m", "run": made}
    with empty.write() as db:
        for name in ("a", "b"):
            dictionary = {
                "dictionary": name,
                "name": name,
                "site": "s",
                "layer": 0,
                "architecture": "topk",
                "metrics": {},
            }
            append(db, "dictionaries", [dictionary | base | {"latents": LATENTS}])
            append(db, "harvests", [{"harvest": "h", "dictionary": name, "documents": 1, "tokens": TOKENS} | base])
        feature = {"dictionary": "a", "latent": 0, "density": 0.1, "max_activation": 1.0, "statistics": {}}
        append(db, "features", [feature])
    _explained(empty)
    _scored(empty)
    return empty


def _explained(workspace: Workspace) -> None:
    made = run(workspace, "explain", {"phases": {f"explaining by {LABEL}": phase(4, 8.0, [0.4] * 9 + [4.4])}})
    usage = [{"in": 100, "out": 10}, {"in": 300, "out": 30}, {"in": 200, "out": 20}, {}]
    row = {"dictionary": "a", "latent": 0, "explainer": LABEL, "run": made}
    with workspace.write() as db:
        for number, used in enumerate(usage):
            said = {"text": "t" if used else None, "error": None if used else "dead", "details": {"usage": used}}
            append(db, "explanations", [row | said | {"explanation": str(number)}])


def _scored(workspace: Workspace) -> None:
    phases = {"scoring by embedding": phase(4, 2.0)}
    made = run(workspace, "score", {"phases": phases})
    run(workspace, "score", {"phases": {"scoring by embedding": phase(4, 4.0)}})
    with workspace.write() as db:
        for number in range(4):
            row = {"explanation": str(number), "scorer": "embedding", "value": 0.5, "trials": 10, "run": made}
            append(db, "scores", [row])


def line(planned: Plan, stage: str, part: str) -> Any:
    return next(one for one in planned.lines if (one.stage, one.part) == (stage, part))


def test_what_is_measured_is_what_the_runs_say(known: Workspace) -> None:
    found = measured(known)
    assert found.harvest.token_latents == TOKENS * 2 * LATENTS
    assert found.harvest.activations == ACTIVE
    assert found.harvest.bytes_of_activations == sum(
        f.stat().st_size for f in (known.folder / "activations").rglob("part-*.parquet")
    )
    reading = found.rates["harvest", "reading"]
    assert reading.value == pytest.approx(TOKENS * 2 * LATENTS / 10)
    assert (reading.slowest, reading.fastest) == pytest.approx((TOKENS * LATENTS / 6, TOKENS * LATENTS / 4))
    embedding = found.rates["score", "embedding"]  # two runs, neither of which has tenths
    assert (embedding.value, embedding.slowest, embedding.fastest) == pytest.approx((8 / 6, 1.0, 2.0))
    assert (embedding.runs, embedding.units) == (2, 8)
    costs = found.costs["explain", LABEL]
    assert costs.tokens_in is not None
    assert costs.tokens_in.value == 200
    assert costs.failed.value == 0.25
    assert costs.failed.lower < 0.25 < costs.failed.upper
    assert found.costs["score", "embedding"].tokens_in is None


def test_hours_tokens_dollars_and_bytes_in_closed_form(known: Workspace) -> None:
    config = PlanConfig(
        features=1010, tokens=5000, machines=2, endpoints=4, price_in=1.0, price_out=2.0, price_hour=3.0
    )
    planned = plan(measured(known), config)
    assert planned.dictionaries == math.ceil(1010 / LATENTS)
    reading = line(planned, "harvest", "reading")
    assert reading.hours.value == pytest.approx(5000 * 1010 / (TOKENS * 2 * LATENTS / 10) / 3600 / 2)
    assert reading.hours.lower == pytest.approx(reading.hours.value * 0.8)
    assert reading.hours.upper == pytest.approx(reading.hours.value * 1.2)
    assert reading.usd == pytest.approx(reading.hours.value * 2 * 3.0)
    sorting = line(planned, "harvest", "sorting")
    each = ACTIVE / (TOKENS * 2)
    assert sorting.work == pytest.approx(5000 * 21 * each)
    assert sorting.hours.value == pytest.approx(5000 * 21 * each / (ACTIVE / 3.0) / 3600 / 2)
    assert math.isnan(sorting.hours.lower)  # one run without tenths
    asked = line(planned, "explain", LABEL)
    assert asked.tokens_in.value == 200 * 1010
    assert asked.tokens_out.value == 20 * 1010
    assert 100 * 1010 <= asked.tokens_in.lower < asked.tokens_in.value < asked.tokens_in.upper <= 300 * 1010
    assert asked.hours.value == pytest.approx(1010 / 0.5 / 3600 / 4)  # endpoints, not machines
    tokens = (200 * 1.0 + 20 * 2.0) * 1010 / 1e6
    assert asked.usd == pytest.approx(tokens + asked.hours.value * 3.0)
    with known.read() as db:
        rows = db.execute("select length(to_json(e)::varchar) from explanations e").fetchall()
    assert asked.bytes == pytest.approx(np.mean(rows) * 1010)


def test_wider_dictionaries_take_fewer_of_them(known: Workspace) -> None:
    found = measured(known)
    narrow, wide = (plan(found, PlanConfig(features=1000, latents=n)) for n in (50, 500))
    assert (narrow.dictionaries, wide.dictionaries) == (20, 2)
    work = [line(one, "harvest", "sorting").work for one in (narrow, wide)]
    assert work[0] == pytest.approx(10 * work[1])  # as many activations a token in each dictionary, whatever its width


def test_nothing_is_said_of_what_was_never_done(workspace: Workspace) -> None:
    planned = plan(measured(workspace), PlanConfig())
    assert all(one.missing and one.rate is None and one.hours is None for one in planned.lines)
    names = {(one.stage, one.part) for one in planned.lines}
    assert names >= {("explain", name) for name in parts.names("autointerp.explainers")}
    assert names >= {("score", name) for name in parts.names("autointerp.scorers")}
    assert names >= {("harvest", "reading"), ("harvest", "sorting")}
    said = page.text(planned)
    assert "lacewing score --scorers embedding" in said
    assert "By part" not in said


def test_a_part_that_was_measured_is_not_missing(known: Workspace) -> None:
    planned = plan(measured(known), PlanConfig())
    missing = {(one.stage, one.part): one.missing for one in planned.lines if one.missing}
    assert ("explain", "llm") not in missing  # measured with settings of its own
    assert missing["explain", "token_lift"] == ("lacewing explain --features sample --limit 50 --explainer token_lift")


def test_prices_that_are_not_given_are_left_out_and_said_to_be(known: Workspace) -> None:
    planned = plan(measured(known), PlanConfig(price_in=1.0))
    assert all(one.usd is None for one in planned.lines)
    said = page.text(planned)
    assert "Prices given: $1 for a million tokens of prompt. Not given, so left out: a million tokens of answer" in said
    free = plan(measured(known), PlanConfig(price_in=0.0, price_out=0.0))
    assert line(free, "explain", LABEL).usd == 0


def test_a_run_with_more_workers_stands_for_the_rate(known: Workspace) -> None:
    run(known, "score", {"workers": 2, "phases": {"scoring by embedding": phase(40, 10.0)}})
    rate = measured(known).rates["score", "embedding"]
    assert (rate.value, rate.workers, rate.runs) == (4.0, 2, 1)


@pytest.mark.parametrize(
    "kept",
    [
        {"llm": {"sent": 1}},
        {"local": {"likelihood": {"asked": 100, "computed": 20}, "embedder": {"asked": 10, "computed": 10}}},
    ],
)
def test_a_run_that_repeats_kept_answers_tells_nothing_of_speed(known: Workspace, kept: dict[str, Any]) -> None:
    before = measured(known).rates["score", "embedding"]
    run(known, "score", {"phases": {"scoring by embedding": phase(4, 0.001)}} | kept)
    found = measured(known)
    assert found.rates["score", "embedding"] == before
    assert found.repeated == 1
    assert "1 run(s) mostly repeated kept answers" in page.text(plan(found, PlanConfig()))


@pytest.mark.parametrize(
    "had",
    [
        {"llm": {"sent": 4}},
        {"local": {"likelihood": {"asked": 100, "computed": 50}}},
        {"workers": 2, "local": {"likelihood": {"asked": 100, "computed": 0}}},
    ],
)
def test_a_run_that_had_its_answers_counts(known: Workspace, had: dict[str, Any]) -> None:
    run(known, "score", {"phases": {"scoring by embedding": phase(4, 4.0)}} | had)
    assert measured(known).repeated == 0


def test_the_verb_stores_its_lines_and_writes_the_page(known: Workspace, tmp_path: Path) -> None:
    said = plan_autointerp(known, PlanConfig(features=1000, out=str(tmp_path / "page.html")))
    assert said.startswith("Auto-interpretation of 1,000 features\n")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    with known.read() as db:
        rows = db.execute("select stage, part, hours, missing from plans order by stage, part").fetchall()
        made = db.execute("select status from runs where verb = 'plan-autointerp'").fetchall()
    assert made == [("done",)]
    assert all((hours is None) == (missing is not None) for _, _, hours, missing in rows)
    assert ("explain", LABEL) in {(stage, part) for stage, part, _, _ in rows}


@pytest.mark.parametrize("form", ["html", "markdown", "text"])
def test_names_are_text_on_the_page(known: Workspace, form: str) -> None:
    run(known, "explain", {"phases": {f"explaining by {NASTY}": phase(4, 8.0)}})
    said = getattr(page, form)(plan(measured(known), PlanConfig()))
    if form == "text":
        assert "<script>|`x` " in said
    else:
        assert "<script>" not in said
    if form == "markdown":
        assert r"\<script\>\|\`x\`" in said
        tables = [one for one in said.splitlines() if one.startswith("| ")]
        columns = {one.replace(r"\|", "").count("|") for one in tables}
        assert columns == {len(page.COLUMNS) + 1, len(page.TOTALS) + 1}


def test_a_page_that_cannot_be_written_leaves_no_lines(known: Workspace, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"can't be written to .*page\.md.: No such file or directory\. Name another"):
        plan_autointerp(known, PlanConfig(out=str(tmp_path / "nowhere" / "page.md")))
    with known.read() as db:
        assert db.execute("select count(*) from plans").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"features": 0}, "features is 0; it must be at least 1."),
        ({"machines": 0}, "machines is 0; it must be at least 1."),
        ({"price_in": -1.0}, "price_in is -1.0; it can't be below 0."),
        ({"price_gb": math.nan}, "price_gb is nan; it can't be below 0."),
        ({"out": "page.pdf"}, "out is 'page.pdf'; its name should end in .md or .html."),
    ],
)
def test_what_cannot_be_planned_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(Mistake) as error:
        PlanConfig(**wrong)
    assert str(error.value) == says


@pytest.mark.parametrize(
    ("value", "said"), [(0.01234, "0.0123"), (999.6, "1 k"), (1234.0, "1.23 k"), (2e6, "2 M"), (None, "-"), (0.0, "0")]
)
def test_numbers_are_short(value: float | None, said: str) -> None:
    assert page.short(value) == said


def test_a_mean_has_an_interval_only_of_what_is_known() -> None:
    assert mean(np.array([np.nan, np.nan])) is None
    found = mean(np.array([1.0, np.nan, 3.0]))
    assert found is not None
    assert (found.value, found.lower, found.upper) == (2.0, 1.0, 3.0)


def test_harvests_add_up() -> None:
    assert Harvest(1, 2, 3.0) + Harvest(1, 20, 30.0) == Harvest(2, 22, 33.0)
