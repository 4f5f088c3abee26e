"""Dictionaries of other tools: read as their own formulas say, and proved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from foreign import (
    LATENTS,
    D,
    K,
    assert_computes,
    bring,
    in_dictionary_learning,
    in_saelens,
    in_sparsify,
    learning_by_hand,
    rand,
    sparsify_by_hand,
)
from sae_lens import SAE
from safetensors.torch import load_file

from data.errors import Mistake
from data.store import Workspace
from data.words import Site
from training.dictionary import dictionaries_of, folder_of, load_dictionary
from training.formats import dictionary_learning, saelens, sparsify


@pytest.mark.parametrize("name", sorted(saelens.READABLE))
def test_every_inference_class_of_sae_lens_is_read_proved_and_used(
    name: str, workspace: Workspace, tmp_path: Path
) -> None:
    folder = in_saelens(tmp_path / "source", name)
    digest = bring(workspace, folder)
    dictionary = load_dictionary(workspace, digest)
    x = rand(4, 5, D)
    theirs = SAE.load_from_disk(folder)
    torch.testing.assert_close(dictionary.encode(x), theirs.encode(x))
    torch.testing.assert_close(dictionary.reconstruct(x), theirs(x))
    f = dictionary.encode(x)
    assert (f != 0).any()
    transcoder = "transcoder" in name
    assert dictionary.reads == ((Site(1, "mlp_in"),) if transcoder else (Site(1),))
    assert dictionary.writes == ((Site(1, "mlp_out"),) if transcoder else (Site(1),))
    assert dictionary.plain is not transcoder
    assert digest == folder_of(workspace, digest).name
    if "skip" in name:
        assert not torch.allclose(dictionary.reconstruct(x), dictionary.decode(f))


@pytest.mark.parametrize("name", ["standard", "topk"])
def test_layer_normalised_activations_are_read_but_not_spliced(
    name: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = bring(workspace, in_saelens(tmp_path / "source", name, normalize_activations="layer_norm"))
    assert load_dictionary(workspace, digest).reconstruct(rand(3, D)).shape == (3, D)
    plain = bring(workspace, in_saelens(tmp_path / "plain", name))
    assert dictionaries_of(workspace, "unknown") == {Site(1): plain}


def test_a_topk_dictionary_that_ranks_by_decoder_norm_has_unit_directions(workspace: Workspace, tmp_path: Path) -> None:
    folder = in_saelens(tmp_path / "source", "topk", rescale_acts_by_decoder_norm=True)
    dictionary = load_dictionary(workspace, bring(workspace, folder))
    x = rand(9, D)
    torch.testing.assert_close(dictionary.W_dec.norm(dim=-1), torch.ones(LATENTS))
    torch.testing.assert_close(dictionary.reconstruct(x), SAE.load_from_disk(folder)(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(dictionary.encode(x) @ dictionary.W_dec + dictionary.b_dec, dictionary.reconstruct(x))


@pytest.mark.parametrize(
    "config",
    [{}, {"normalize_decoder": False}, {"transcode": True}, {"transcode": True, "skip_connection": True},
     {"skip_connection": True}, {"num_latents": LATENTS, "expansion_factor": 32}],
    ids=str,
)  # fmt: skip
def test_sparsify_computes_what_it_says(config: dict[str, object], workspace: Workspace, tmp_path: Path) -> None:
    folder = in_sparsify(tmp_path / "layers.1.mlp", **config)
    digest = bring(workspace, folder)
    w = load_file(folder / "sae.safetensors")
    assert_computes(workspace, digest, lambda x: sparsify_by_hand(x, w, config))
    dictionary = load_dictionary(workspace, digest)
    assert dictionary.writes == (Site(1, "mlp_out"),)
    assert dictionary.site == Site(1, "mlp_in" if config.get("transcode") else "mlp_out")


@pytest.mark.parametrize(
    ("name", "site"),
    [("layers.12", "resid_post:12"), ("h.3", "resid_post:3"), ("model.layers.4.self_attn", "attn_out:4"),
     ("gpt_neox.layers.0.mlp", "mlp_out:0")],
)  # fmt: skip
def test_sparsify_folders_are_named_like_modules(name: str, site: str, workspace: Workspace, tmp_path: Path) -> None:
    assert str(load_dictionary(workspace, bring(workspace, in_sparsify(tmp_path / name))).site) == site


@pytest.mark.parametrize("name", sorted(dictionary_learning.KINDS))
def test_dictionary_learning_computes_what_it_says(name: str, workspace: Workspace, tmp_path: Path) -> None:
    folder = in_dictionary_learning(tmp_path / "source", name)
    digest = bring(workspace, folder)
    w = torch.load(folder / "ae.pt", weights_only=True)
    assert_computes(workspace, digest, lambda x: learning_by_hand(x, w, name))
    assert load_dictionary(workspace, digest).site == Site(1)


def test_what_is_registered(workspace: Workspace, tmp_path: Path) -> None:
    folder = in_sparsify(tmp_path / "layers.1")
    digest = bring(workspace, folder, name="theirs")
    with workspace.read() as db:
        row = db.execute(
            "select name, model, site, layer, architecture, latents, metrics, status, verb, summary "
            "from dictionaries join runs using (run)"
        ).fetchall()[0]
    assert row[:6] == ("theirs", "unknown", "resid_post:1", 1, "topk", LATENTS)
    metrics = json.loads(row[6])
    assert (metrics["imported_from"], metrics["format"], metrics["k"]) == (str(folder), "sparsify", K)
    assert row[7:9] == ("done", "import")
    assert json.loads(row[9])["dictionaries"] == [digest]


def test_with_the_model_it_is_evaluated(
    workspace: Workspace, tmp_path: Path, tiny_model: Path, small_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import foreign

    monkeypatch.setattr(foreign, "D", 32)
    folder = in_sparsify(tmp_path / "layers.1", k=4, num_latents=LATENTS)
    digest = bring(workspace, folder, model=str(tiny_model), text=str(small_text), tokens=600)
    with workspace.read() as db:
        metrics = json.loads(db.execute("select metrics from dictionaries").fetchall()[0][0])
    assert metrics["l0"] == pytest.approx(4, abs=0.01)
    assert metrics["explained_variance_lower"] < metrics["explained_variance"] < metrics["explained_variance_upper"]
    assert metrics["explained_variance"] < metrics["pca_explained_variance"]  # random weights
    assert load_dictionary(workspace, digest).noted("model_name") == str(tiny_model)
    monkeypatch.setattr(foreign, "D", 8)
    with pytest.raises(Mistake, match="for activations of width 8, and .* has 32"):
        bring(workspace, in_sparsify(tmp_path / "layers.0"), model=str(tiny_model))
    monkeypatch.setattr(foreign, "D", 32)
    with pytest.raises(Mistake, match="has 2 blocks .* no site resid_post:7"):
        bring(workspace, in_sparsify(tmp_path / "layers.7", num_latents=LATENTS), model=str(tiny_model))


@pytest.mark.parametrize("harm", ["W_enc", "W_dec", "b_dec", "k", "b_enc"])
def test_a_conversion_that_is_wrong_is_not_registered(
    harm: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = sparsify.load

    def wrong(folder: Path) -> object:
        found = load(folder)
        if harm == "k":
            found.fields["k"] = K - 1
        else:
            found.weights[harm] = found.weights[harm] * (1 + 1e-3)
        return found

    monkeypatch.setattr(sparsify, "load", wrong)
    with pytest.raises(Mistake, match=r"does not give what its format's formula gives: on \d+ of 64 probes .* Nothing"):
        bring(workspace, in_sparsify(tmp_path / "layers.1"))
    with workspace.read() as db:
        assert db.execute("select count(*) from dictionaries").fetchall() == [(0,)]
        assert db.execute("select status from runs").fetchall() == [("failed",)]
    assert not list((workspace.folder / "dictionaries").iterdir())


def test_a_wide_dictionary_with_many_near_ties_is_not_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding decides some of 64 x 8,000 latents; the bound knows what they would add."""
    import foreign

    monkeypatch.setattr(foreign, "LATENTS", 8_000)
    monkeypatch.setattr(foreign, "D", 64)
    bring(workspace, in_saelens(tmp_path / "jump", "jumprelu"))
    bring(workspace, in_saelens(tmp_path / "top", "topk", k=64))
