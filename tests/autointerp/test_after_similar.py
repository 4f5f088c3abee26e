"""Two dictionaries are compared: matchings by brute force, activations by numpy, and a copy in another order."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import planted
import pytest
import torch

from autointerp.after import coactivation, cosines, similar
from autointerp.after.coactivation import together
from autointerp.after.similar_config import SimilarConfig
from autointerp.examples import Reader
from autointerp.shards import Activations, Files
from data import queries, runs
from data.errors import Mistake
from data.store import Workspace, append
from data.words import Site
from training.dictionary import Dictionary

OTHER = "0123"
ORDER = [6, 3, 0, 5, 1, 4, 2]
"""Latent n of the other dictionary is latent ORDER[n] of the planted one."""


def rows(count: int, width: int, seed: int) -> np.ndarray:
    return cosines.unit(np.random.default_rng(seed).standard_normal((count, width)))


def test_mutual_neighbours_are_those_of_all_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosines, "BLOCK", 7)
    one, other = rows(40, 6, 0), rows(30, 6, 1)
    whole = one @ other.T
    found = cosines.mutual(one, other)
    brute = [(i, j) for i in range(40) for j in range(30) if whole[i].argmax() == j and whole[:, j].argmax() == i]
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == brute
    np.testing.assert_allclose(found.cosine, [whole[pair] for pair in brute], rtol=1e-6)
    near = cosines.nearest(one, one, apart=True)
    apart = one @ one.T - 9 * np.eye(40)
    assert near.row.tolist() == apart.argmax(1).tolist()


def test_the_exact_matching_has_the_largest_sum() -> None:
    one, other = rows(6, 3, 2), rows(6, 3, 3)
    best = max(sum(float(one[i] @ other[j]) for i, j in enumerate(p)) for p in itertools.permutations(range(6)))
    found = cosines.exact(one, other)
    assert found is not None
    assert found.cosine.sum() == pytest.approx(best, abs=1e-5)  # float32 cosines


def test_the_sparse_matching_is_the_dense_one_where_all_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = rows(25, 5, 4), rows(32, 5, 5)
    dense = cosines.exact(one, other)
    monkeypatch.setattr(cosines, "CELLS", 100)
    sparse = cosines.exact(one, other)
    assert dense is not None
    assert sparse is not None
    assert dense.cosine.min() > 0  # so that nobody is better off alone
    assert sparse.cosine.sum() == pytest.approx(dense.cosine.sum(), abs=1e-4)
    monkeypatch.setattr(cosines, "WIDEST", 30)
    assert cosines.exact(one, other) is None


def test_a_permuted_row_keeps_its_numbers() -> None:
    one = rows(5, 50, 6)
    null = cosines.permuted(one, 0)
    np.testing.assert_array_equal(np.sort(one, 1), np.sort(null, 1))
    assert (one != null).any()


@pytest.fixture
def two(planted_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, stand_ins: None) -> Workspace:
    """The planted harvest with a second dictionary: the same latents in another order, directions a little off."""
    reader = Reader(planted_workspace, planted.DICTIONARY)
    found = [(n, reader.firings(old)) for n, old in enumerate(ORDER)]
    latent = np.concatenate([np.full(len(f.value), n, np.int32) for n, f in found])
    document, position = (
        np.concatenate([getattr(f, k) for _, f in found]).astype(np.int32) for k in ("document", "position")
    )
    value = np.concatenate([f.value for _, f in found])
    files = Files(planted_workspace, planted.HARVEST)
    parts = Activations(latent, document, position, value, latent).table(token=False)
    files.write(files.part(OTHER, 0), parts, group=500)
    directions = torch.from_numpy(rows(7, 32, 0))
    noise = 0.05 * torch.from_numpy(rows(7, 32, 1))
    known = {planted.DICTIONARY: directions, OTHER: directions[ORDER] + noise}
    monkeypatch.setattr(similar, "load_dictionary", lambda _, name: dictionary(name, known[name]))
    with runs.start(planted_workspace, "explain", {}) as run, planted_workspace.write() as db:
        append(db, "harvests", [{"harvest": planted.HARVEST, "dictionary": OTHER, "model": "m", "documents": 60,
            "tokens": 1, "run": db.execute("select run from harvests").fetchall()[0][0]}])  # fmt: skip
        append(db, "explanations", [
            {"explanation": f"{name}{n}", "dictionary": name, "latent": n, "explainer": "llm", "run": run.run,
             "text": planted.EXPLANATIONS.get(n if name == planted.DICTIONARY else ORDER[n], "anything"), "details": {}}
            for name in (planted.DICTIONARY, OTHER)
            for n in range(7) if (n if name == planted.DICTIONARY else ORDER[n]) != 3
        ])  # fmt: skip
    return planted_workspace


def dictionary(name: str, decoder: torch.Tensor, model: str = "m") -> Dictionary:
    return Dictionary(name, name, model, Site(1), len(decoder), decoder.shape[1], SimpleNamespace(W_dec=decoder))


def findings(workspace: Workspace) -> dict[str, dict[str, Any]]:
    return {row["measure"]: row for row in queries.rows(workspace, "select * from findings")}


def test_activations_together_are_those_of_numpy(two: Workspace) -> None:
    one, other = Reader(two, planted.DICTIONARY), Reader(two, OTHER)
    pairs = [(0, 2), (0, 4), (5, 0), (6, 0), (2, 3), (3, 1)]
    found = together(one, other, pairs, 0)
    begin = dict(zip(one.length, np.cumsum([0, *one.length.values()])[:-1].tolist(), strict=True))

    def dense(reader: Reader, latent: int) -> np.ndarray:
        values, firings = np.zeros(sum(one.length.values())), reader.firings(latent)
        values[[begin[d] + p for d, p in zip(firings.document.tolist(), firings.position.tolist(), strict=True)]] = (
            firings.value
        )
        return values

    for place, (left, right) in enumerate(pairs[:5]):
        a, b = dense(one, left), dense(other, right)
        assert found.jaccard[place, 0] == pytest.approx(((a > 0) & (b > 0)).sum() / ((a > 0) | (b > 0)).sum())
        if a.std() and b.std():
            assert found.correlation[place, 0] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)
    assert np.isnan(found.correlation[2, 0])  # latent 5 fires everywhere, equally
    assert np.isnan(found.jaccard[5]).all()  # latent 3 is dead in both


def test_documents_are_drawn_as_if_activations_were_looked_at_again(
    two: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Reader(two, planted.DICTIONARY), Reader(two, OTHER)
    whole = together(one, other, [(0, 4), (6, 0)], 0).jaccard
    only = {n: size for n, size in one.length.items() if n < 30}
    monkeypatch.setattr(coactivation, "weights", lambda groups, _: (groups[None] < 30).astype(float))
    half = together(one, other, [(0, 2)], 0)
    firings = one.firings(0)
    assert half.jaccard[0, 0] == 1.0
    assert len(only) == 30
    assert (firings.document < 30).any()
    assert np.ptp(whole[0]) == 0  # two words that never stand together stay at 0 whatever is drawn


def test_a_shuffled_copy_is_found_out(two: Workspace) -> None:
    run = similar.similar(two, SimilarConfig(planted.DICTIONARY, OTHER))
    found = findings(two)
    cosine = found["cosine of mutual nearest neighbours"]
    assert cosine["value"] > 0.98
    assert cosine["difference_lower"] > 0.3
    assert cosine["against"] == "permuted decoder"
    assert found["share of latents with a match"]["value"] == 1.0
    assert found["cosine of the best matching"]["trials"] == 7
    jaccard = found["Jaccard index of matched latents' tokens"]
    assert (jaccard["value"], jaccard["trials"], jaccard["details"]["silent"]) == (1.0, 6, 1)
    assert jaccard["difference_lower"] > 0.3
    assert found["correlation of matched latents"]["value"] == pytest.approx(1.0)
    labels = found["cosine of matched latents' labels"]
    assert labels["value"] == pytest.approx(1.0)
    assert labels["difference"] > 0.2
    assert labels["details"] == {"equal": 6, "unexplained": 1}
    matches = queries.rows(two, "select * from matches where kind = 'mutual' order by latent")
    assert [row["other_latent"] for row in matches] == [ORDER.index(n) for n in range(7)]
    assert [row["jaccard"] for row in matches] == [1.0, 1.0, 1.0, None, 1.0, 1.0, 1.0]
    assert matches[3]["explanation"] is None
    assert similar.similar(two, SimilarConfig(planted.DICTIONARY, OTHER)) == run
    assert similar.shown(two, SimilarConfig(planted.DICTIONARY, OTHER)).splitlines()[0] == run


def test_what_cannot_be_compared_is_said(two: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Mistake, match=r"^Dictionary d1c7 was named twice; every latent is like itself\. Name two\.$"):
        SimilarConfig(planted.DICTIONARY, planted.DICTIONARY)
    with two.write() as db:
        db.execute("update harvests set harvest = 'h2' where dictionary = ?", [OTHER])
    with pytest.raises(Mistake, match=r"have no harvest in common.*`lacewing harvest --dictionaries d1c7,0123`\.$"):
        similar.similar(two, SimilarConfig(planted.DICTIONARY, OTHER))
    other = {planted.DICTIONARY: ("m", 32), OTHER: ("m", 16)}
    monkeypatch.setattr(similar, "load_dictionary", lambda _, n: dictionary(n, torch.ones(7, other[n][1]), other[n][0]))
    with pytest.raises(Mistake, match=r"^Dictionary d1c7 writes 32 coordinates and 0123 16;"):
        similar.similar(two, SimilarConfig(planted.DICTIONARY, OTHER))
    other[OTHER] = ("another", 32)
    with pytest.raises(Mistake, match=r"are of different models; their directions have no axes in common"):
        similar.similar(two, SimilarConfig(planted.DICTIONARY, OTHER))


def test_unexplained_dictionaries_have_no_finding_about_labels(two: Workspace) -> None:
    with two.write() as db:
        db.execute("delete from explanations")
    similar.similar(two, SimilarConfig(planted.DICTIONARY, OTHER))
    row = findings(two)["cosine of matched latents' labels"]
    assert row["value"] is None
    assert row["error"].startswith("0 matched pairs have explanations on both sides")
