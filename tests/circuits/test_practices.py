"""Metrics and corruptions side by side: patching by hand, closed forms, and a whole run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from circuits.config import ProblemConfig
from circuits.mediators import mediator
from circuits.practices import Cell, cells, practices, rank_correlation
from circuits.practices_config import PracticesConfig
from circuits.problem import Problem
from circuits.references.noise import corrupt
from circuits.setup import Setting
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Node, Pair, Site

EMBEDDING = Site(0, "resid_pre")
SITES = (Site(0), Site(1, "attn_out"), Site(1))


@pytest.fixture(scope="module")
def setting(subject: Subject) -> Setting:
    return Setting(subject, {site: mediator("sites", subject, site) for site in SITES})


@pytest.fixture(scope="module")
def found(setting: Setting, pairs: list[Pair]) -> dict[tuple[str, str], Cell]:
    config = PracticesConfig(batch=16)
    return {(cell.reference, cell.metric): cell for cell in cells(setting, pairs, config, lambda *_: None)}


def share(cell: Cell, node: Node) -> float:
    gained, total = cell.gained[:, cell.nodes.index(node)].mean(0).tolist()
    return gained / total


def noised(subject: Subject, pairs: list[Pair], batch: int = 5, seed: int = 0) -> Problem:
    placed = {site: mediator("sites", subject, site) for site in (EMBEDDING, *SITES)}
    return Problem.of(subject, placed, pairs, batch=batch, reference="noise", seed=seed)


def test_noise_is_on_the_embeddings_of_the_tokens_that_differ(subject: Subject, pairs: list[Pair]) -> None:
    problem = noised(subject, pairs)
    state = problem.states[EMBEDDING]
    moved = (state.x_patch != state.x).any(-1)
    assert torch.equal(moved, problem.clean != problem.aligned.patch)
    noise = (state.x_patch - state.x)[moved]
    assert float(noise.std()) == pytest.approx(3 * float(state.x.std()), rel=0.1)  # some 400 draws
    assert not torch.equal(state.x_patch, noised(subject, pairs, seed=1).states[EMBEDDING].x_patch)
    torch.testing.assert_close(state.x_patch, noised(subject, pairs, batch=64).states[EMBEDDING].x_patch)


def test_noise_flows_on_from_the_embeddings(subject: Subject, pairs: list[Pair]) -> None:
    """Every site's reference is its value on the run with noised embeddings; with all at reference, its metric."""
    problem = noised(subject, pairs)
    rows = torch.arange(len(problem))
    caught: dict[Site, torch.Tensor] = {}
    edits = {site: (lambda x, site=site: caught.update({site: x})) for site in SITES}
    embeddings = problem.states[EMBEDDING].x_patch
    with torch.no_grad():
        logits = problem.run(rows, {EMBEDDING: lambda _: embeddings, **edits})
    for site in SITES:
        torch.testing.assert_close(problem.states[site].x_patch, caught[site])
    torch.testing.assert_close(problem.none_metric, problem.metric(logits, rows))


def test_padding_gets_no_noise() -> None:
    """Neither does it count in what the noise is measured by."""
    embeddings = torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(0))
    embeddings[1, 2] = 1e6
    real = torch.tensor([[True, True, True], [True, True, False]])
    differs = torch.tensor([[False, True, False], [False, True, False]])
    noise = corrupt(embeddings, real, differs, 0) - embeddings
    assert (noise != 0).any(-1).tolist() == differs.tolist()
    assert float(noise[differs].std()) == pytest.approx(3, rel=0.2)


def test_a_stream_site_is_patched_into_the_corrupted_run(
    subject: Subject, pairs: list[Pair], found: dict[tuple[str, str], Cell]
) -> None:
    """The clean value of one position put into the run on the counterfactual prompt, by hand."""
    cell = found["counterfactual", "logit difference"]
    problem = Problem.of(subject, {Site(0): mediator("sites", subject, Site(0))}, pairs)
    rows, clean = torch.arange(len(problem)), problem.states[Site(0)].x
    for position in (2, 5):

        def patch(x: torch.Tensor, position: int = position) -> torch.Tensor:
            x = x.clone()
            x[:, position] = clean[:, position]
            return x

        with torch.no_grad():
            logits = subject.run(problem.aligned.patch, edits={Site(0): patch})
        assert logits is not None
        gained = problem.metric(logits[:, -1], rows) - problem.patch_metric
        expected = float(gained.mean() / (problem.clean_metric - problem.patch_metric).mean())
        assert share(cell, Node(Site(0), "site", 0, position)) == pytest.approx(expected, abs=1e-4)


def test_what_is_restored(found: dict[tuple[str, str], Cell]) -> None:
    """At the last site the last token says all; before the subject, nothing differs from a counterfactual."""
    assert len(found) == 4 * 3
    for (reference, _), cell in found.items():
        assert share(cell, Node(Site(1), "site", 0, 5)) == pytest.approx(1, abs=1e-3)
        assert share(cell, Node(Site(1), "site", 0, 2)) == pytest.approx(0, abs=1e-3)
        if reference in ("counterfactual", "noise"):
            assert share(cell, Node(Site(0), "site", 0, 1)) == 0


def test_another_pairs_value_restores_less(found: dict[tuple[str, str], Cell]) -> None:
    cell = found["counterfactual", "logit difference"]
    last = cell.nodes.index(Node(Site(1), "site", 0, 5))
    other = cell.control[:, last].mean(0)
    assert float(other[0] / other[1]) < 0.8
    assert not torch.equal(cell.control[:, last], cell.gained[:, last])


def test_sums_over_all_positions_restore_everything(setting: Setting, pairs: list[Pair]) -> None:
    stream = dataclasses.replace(setting, mediators={Site(0): setting.mediators[Site(0)]})
    for cell in cells(stream, pairs, PracticesConfig(positions="sum", batch=16), lambda *_: None):
        assert share(cell, cell.nodes[0]) == pytest.approx(1, abs=1e-4)


def test_cells_that_agree_and_cells_that_do_not() -> None:
    generator = torch.Generator().manual_seed(0)
    ranks = torch.arange(12.0).repeat(30, 1) + 0.1 * torch.randn(30, 12, generator=generator)
    nodes = tuple(Node(Site(0), "site", 0, place) for place in range(12))

    def cell(gained: torch.Tensor) -> Cell:
        both = torch.stack([gained, torch.ones(30, 12)], dim=2)
        return Cell("zero", "m", nodes, ("a",) * 12, both, both)

    rising, falling = cell(ranks), cell(-ranks)
    for other, expected in ((rising, 1.0), (cell(3 * ranks + 1), 1.0), (falling, -1.0)):
        agreement = rank_correlation(rising, other, seed=0)
        assert agreement is not None
        assert agreement[0].value == pytest.approx(expected)
        assert 0.4 < agreement[1] < 0.75  # 12 shuffled places exceed 0.59 in one case of forty, by tables
    assert rank_correlation(rising, cell(torch.zeros(30, 12)), seed=0) is None
    noise = rank_correlation(rising, cell(torch.randn(30, 12, generator=generator)), seed=0)
    assert noise is not None
    assert noise[0].upper - noise[0].lower > 0.3


def test_a_whole_run(workspace: Workspace, tiny_model: Path) -> None:
    config = PracticesConfig(
        model=str(tiny_model), sites="resid_post:0,1", pairs=8, reference="counterfactual,zero", metric="kl,probability"
    )
    text = practices(workspace, config)
    assert practices(workspace, config) == text  # from the store
    with workspace.read() as db:
        assert db.execute("select count(*) from runs where verb = 'practices'").fetchall() == [(1,)]
        kinds = db.execute(
            "select site = 'all', count(*), count(control), bool_and(lower <= value and value <= upper) from bench "
            "where task = 'agreement' group by 1 order by 1"
        ).fetchall()
    assert kinds == [(False, 2 * 6 * 2 * 2, 2 * 6 * 2 * 2, True), (True, 6, 6, True)]
    assert "restored share of minus KL" in text
    assert "counterfactual, probability" in text
    assert "resid_post:1/site:0@5" in text


def test_bad_input(workspace: Workspace) -> None:
    with pytest.raises(Mistake, match="There is no reference 'nois'. Did you mean 'noise'?"):
        practices(workspace, PracticesConfig(reference="zero,nois"))
    with pytest.raises(Mistake, match="There is no metric 'kll'. Did you mean 'kl'?"):
        practices(workspace, PracticesConfig(metric="kll"))
    with pytest.raises(Mistake, match="--mediators latents is not for this verb: it patches whole sites"):
        PracticesConfig(mediators="latents")
    with pytest.raises(Mistake, match="--metric 'kl,kl' should name one part or more, each once"):
        PracticesConfig(metric="kl,kl")
    with pytest.raises(Mistake, match="--reference '' should name one part or more"):
        PracticesConfig(reference="")
    assert ProblemConfig().reference == "counterfactual"
