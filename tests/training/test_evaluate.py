"""Figures while training and at the end: which there are, that they agree, and how they are kept."""

from __future__ import annotations

import json
from pathlib import Path

import held
import numpy as np
import pytest
import torch

from data import queries, runs
from data.models import Subject
from data.store import Workspace
from data.words import Site
from training.baselines import Baselines
from training.evaluate import COLUMNS, during, judge, write
from training.heldout import Ablation

RATIOS = {"explained_variance", "cosine", "l0", "l2_ratio", "ce_recovered", "ce_recovered_zero", "kl"}
SITES = (held.SITE, Site(1), Site(1, "mlp_in"), Site(1, "mlp_out"))


def kinds() -> list[held.Made]:
    """An SAE, a transcoder, a crosscoder."""
    generator = torch.Generator().manual_seed(0)
    reader, writer = torch.randn(64, 50, generator=generator), 0.1 * torch.randn(50, 64, generator=generator)

    def encode(x: torch.Tensor) -> torch.Tensor:
        return (x @ reader[: x.shape[1]] - 2).relu()

    narrow = held.Made(encode, lambda x: encode(x) @ writer[:, :32])
    return [
        held.relu(), held.Made(encode, narrow.reconstruct, SITES[2:3], SITES[3:]),
        held.Made(encode, lambda x: encode(x) @ writer, SITES[:2], SITES[:2]),
    ]  # fmt: skip


def test_the_curve_and_the_final_figures_agree(subject: Subject) -> None:
    heldout = held.held(subject, *SITES)
    baselines = Baselines(SITES, heldout.rows[:100])
    for row, dictionary in zip(during(heldout, kinds()), kinds(), strict=True):
        final = judge(heldout, dictionary, baselines)
        for name in (RATIOS | {"dense", "density_never", "density_counts", "heldout_tokens"}) & row.keys():
            assert row[name] == pytest.approx(final[name], rel=1e-5, abs=1e-9), name  # the same work in other batches
        assert row["dead"] >= final["dead"]  # which more tokens are looked at for


def test_every_figure_has_its_interval_and_its_baselines(subject: Subject) -> None:
    heldout = held.held(subject, *SITES)
    sae, transcoder, crosscoder = (judge(heldout, d, Baselines(SITES, heldout.rows[:100])) for d in kinds())
    for found, names in ((sae, ("pca_", "random_")), (transcoder, ("linear_",)), (crosscoder, ("pca_", "random_"))):
        for name in (prefix + ratio for prefix in ("", *names) for ratio in RATIOS):
            assert found[f"{name}_lower"] <= found[name] <= found[f"{name}_upper"], name
        for prefix in names:
            assert found[f"{prefix}components"] == round(found["l0"])
        assert not [key for key in found if key.startswith({"pca_", "random_", "linear_"}.difference(names).pop())]
        json.dumps(found, allow_nan=False)
    assert sae["pca_l0"] == sae["pca_components"]
    assert sae["dense_lower"] <= sae["dense"] <= sae["dense_upper"]
    assert sae["dead_tokens"] == len(heldout.rows) + 100
    assert "sites" not in sae
    assert crosscoder["sites"].keys() == {"resid_post:0", "resid_post:1"}
    assert crosscoder["sites"]["resid_post:1"].keys() > {"explained_variance", "ce_recovered", "kl_upper"}


def test_dictionaries_of_one_site_and_l0_share_their_baselines(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    heldout, shared = held.held(subject, *SITES), Baselines(SITES, held.held(subject, *SITES).rows[:100])
    alone = judge(heldout, held.relu(), Baselines(SITES, heldout.rows[:100]))
    assert judge(heldout, held.relu(), shared) == alone
    monkeypatch.setattr(Baselines, "beside", None)
    assert judge(heldout, held.relu(), shared) == alone


def test_an_ablation_that_costs_nothing_gives_no_share(subject: Subject) -> None:
    heldout = held.held(subject)
    heldout._ablated[frozenset({held.SITE}), held.SITE] = Ablation(heldout.loss, heldout.loss)
    [row] = during(heldout, [held.scaled(1.0)])
    assert row["ce_recovered"] is None
    assert row["kl"] == pytest.approx(0, abs=1e-6)
    assert judge(heldout, held.scaled(1.0), Baselines(heldout.sites, heldout.rows))["ce_recovered_lower"] is None


def test_what_is_written_while_training_is_read_back_by_step(subject: Subject, workspace: Workspace) -> None:
    heldout = held.held(subject)
    with runs.start(workspace, "train", {}) as run:
        for step in (10, 5):
            rows = during(heldout, [held.relu(), held.scaled(0.5)])
            path = write(
                run, [row | {"tokens": step * 32, "architecture": "topk", "time": 1.0} for row in rows], step=step
            )
            assert path.name == f"heldout-{step:08d}.parquet"
        found = queries.heldout_curve(workspace, run.run)
    assert [(row["step"], row["place"]) for row in found] == [(5, 0), (5, 1), (10, 0), (10, 1)]
    assert found[0].keys() == {*COLUMNS.names, "architecture"}
    assert found[0]["site"] == "resid_post:0"
    assert found[0] == rows[0] | {"step": 5, "tokens": 160, "architecture": "topk", "time": 1.0}
    assert found[0]["density_never"] + sum(found[0]["density_counts"]) == 40
    assert np.isfinite(found[1]["ce_recovered_zero"])
    assert queries.heldout_curve(workspace, "none") == []


def test_each_column_is_described_where_the_curve_is_read() -> None:
    assert all(f"`{name}`" in (queries.heldout_curve.__doc__ or "") for name in COLUMNS.names)


def test_a_subject_in_half_precision_gives_nearly_the_same_curve(tiny_model: Path, subject: Subject) -> None:
    half = Subject.open(str(tiny_model), dtype=torch.bfloat16)
    [found], [exact] = (during(held.held(s), [held.scaled(0.9)]) for s in (half, subject))
    assert held.held(half).rows.dtype == torch.float32
    for name in RATIOS - {"l0"}:
        assert found[name] == pytest.approx(exact[name], rel=0.05, abs=0.02), name  # bf16 has 8 bits: 0.4 % a value
