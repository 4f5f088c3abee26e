"""The Dictionary page: figures beside baselines, health, findings, and ways on."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Shown  # pyright: ignore
from generated import HOSTILE, LATENTS, Made
from safetensors.numpy import save_file

from data.queries import of_training
from data.store import Workspace, append

Show = Callable[..., Shown]
NAME = "abcdefabcdef0001"


def rich(folder: Path) -> Workspace:
    """One dictionary with every figure, findings of the doctor, and weights of unequal norms."""
    workspace = Workspace.open(folder, create=True)
    metrics = {
        "explained_variance": 0.93, "explained_variance_lower": 0.92, "explained_variance_upper": 0.94,
        "pca_explained_variance": 0.75, "pca_explained_variance_lower": 0.72, "pca_explained_variance_upper": 0.77,
        "random_explained_variance": 0.237, "kl": 0.29, "dead": 0.02, "dead_tokens": 1000, "l0": 28.6, "k": 32.0,
        "heldout_tokens": 8202, "heldout_documents": 71, "density_never": 3, "density_counts": [0] * 15 + [5, 0, 0, 0, 0],
        "model_name": HOSTILE,
    }  # fmt: skip
    row = {
        "dictionary": NAME, "name": f"{HOSTILE} k=32", "model": "m", "site": "resid_post:5", "layer": 5,
        "architecture": "topk", "latents": 8, "run": "r1", "metrics": metrics,
    }  # fmt: skip
    findings = [
        {"check": "dead", "verdict": "fine", "value": 0.02, "sentence": "few are dead"},
        {"check": "duplicates", "verdict": "bad", "value": 0.4, "sentence": f"{HOSTILE} twins"},
    ]
    with workspace.write() as db:
        append(db, "dictionaries", [row])
        append(db, "runs", [_run("r1", "train", {}), _run("r2", "doctor", {"dictionary": NAME, "findings": findings})])
    home = workspace.folder / "dictionaries" / NAME
    home.mkdir(parents=True)
    (home / "cfg.json").write_text(json.dumps({"d_in": 4, "note": HOSTILE}))
    weights = np.diag(np.arange(1.0, 9.0)).astype(np.float32)
    save_file({"W_dec": weights}, home / "sae_weights.safetensors")
    return workspace


def _run(run: str, verb: str, summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": run, "verb": verb, "config": {"tokens": 4096}, "recipe": run, "seed": 0, "version": "0.1.0", "packages": {},
        "status": "done", "started": datetime(2026, 11, 22, 9), "finished": datetime(2026, 11, 22, 10), "error": None,
        "pid": 1, "host": "h", "summary": summary,
    }  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return rich(tmp_path_factory.mktemp("rich") / "workspace")


def test_figures_stand_beside_their_baselines_with_intervals(known: Workspace, show: Show) -> None:
    shown = show(known.folder, "dictionary", dictionary=NAME)
    table = shown.components["dictionary_figures"]
    assert [c["label"] for c in table["columns"]] == ["Figure", "This dictionary", "PCA", "Random", "What it is"]
    first = table["rows"][0]["cells"]
    assert first[:2] == ["Explained variance", "0.930 [0.920, 0.940]"]
    assert [cell["text"] for cell in first[2:4]] == ["0.750 [0.720, 0.770]", "0.237"]
    assert "8,202 tokens of 71 documents" in shown.html
    findings = shown.components["dictionary_doctor"]["rows"]
    assert [row["cells"][0]["text"] for row in findings] == ["✓ fine", "✗ bad"]
    assert "doctor_start" not in {b.key for b in shown.app.button}
    assert "3 of 8 never fire there" in shown.html
    assert shown.components["dictionary_norms"]["x"]["label"].startswith("norm of the decoder row")
    assert "<script" not in shown.html


def test_densities_are_binned_as_while_training(known: Workspace, made: Made) -> None:
    found = of_training.densities(made.workspace, made.dictionaries["resid_post:5"])
    assert found["features"] == LATENTS
    assert found["never"] + sum(found["counts"]) == LATENTS
    with made.workspace.read() as db:
        rows = db.execute(
            "select density from features where dictionary = ? and density > 0", [made.dictionaries["resid_post:5"]]
        ).fetchall()
    low, high = of_training.DENSITY_EDGES[0], of_training.DENSITY_EDGES[-1]
    expected, _ = np.histogram(np.clip(np.log10([d for (d,) in rows]), low, high), of_training.DENSITY_EDGES)
    assert found["counts"] == expected.tolist()
    assert of_training.densities(known, NAME) == {"features": 0, "never": 0, "dense": 0, "counts": [0] * 20}
    assert of_training.decoder_norms(known, NAME) == list(range(1, 9))
    assert of_training.decoder_norms(known, "nothing") is None


def test_what_is_missing_says_which_command_makes_it(made: Made, show: Show) -> None:
    name = made.dictionaries["resid_post:5"]
    shown = show(made.workspace.folder, "dictionary", dictionary=name)
    assert f"lacewing doctor {name} --workspace" in shown.html
    assert f"lacewing export {name} " in shown.html
    assert "weights are not on disk" in shown.html
    assert "dictionary_density" in shown.components


def test_without_an_address_one_is_chosen(made: Made, show: Show) -> None:
    rows = show(made.workspace.folder, "dictionary").components["dictionaries"]["rows"]
    assert {row["cells"][0]["query"]["dictionary"] for row in rows} == set(made.dictionaries.values())


def test_a_wrong_dictionary_is_a_sentence(made: Made, show: Show) -> None:
    assert "There is no dictionary &#x27;zz&#x27;" in show(made.workspace.folder, "dictionary", dictionary="zz").html
