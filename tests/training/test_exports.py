"""Dictionaries go out to other tools, and come in again the same."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from foreign import (
    LATENTS,
    D,
    bring,
    in_dictionary_learning,
    in_saelens,
    rand,
    sparsify_by_hand,
)
from sae_lens import SAE
from safetensors.torch import load_file, save_file

from data.errors import Mistake
from data.store import Workspace
from data.words import Site
from training.dictionary import load_dictionary
from training.exchange_config import ExportConfig
from training.exporting import export_dictionary
from training.formats import saelens


def export(workspace: Workspace, digest: str, folder: Path, **options: object) -> str:
    return export_dictionary(workspace, ExportConfig(dictionary=digest, folder=str(folder), **options))


@pytest.mark.parametrize("name", sorted(saelens.READABLE))
def test_out_and_in_again_is_the_same_dictionary(name: str, workspace: Workspace, tmp_path: Path) -> None:
    digest = bring(workspace, in_saelens(tmp_path / "source", name))
    copy = export(workspace, digest, tmp_path / "deep" / "copy")
    assert SAE.load_from_disk(copy).cfg.d_sae == LATENTS
    other = Workspace.open(tmp_path / "other", create=True)
    assert bring(other, Path(copy)) == digest
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["copy"]
    assert bring(workspace, Path(copy), name="again") == digest  # the row that is there stays
    assert load_dictionary(workspace, digest).name != "again"


def test_a_crosscoder_goes_out_and_in_again(workspace: Workspace, tmp_path: Path) -> None:
    """It reads two sites, side by side; to sae-lens it is an autoencoder of twice the width."""
    source = in_saelens(tmp_path / "source", "jumprelu", d_in=2 * D)
    cfg = json.loads((source / "cfg.json").read_text())
    both = ["resid_post:0", "resid_post:1"]
    cfg["metadata"] |= {"reads": both, "writes": both}
    (source / "cfg.json").write_text(json.dumps(cfg))
    digest = bring(workspace, source)
    dictionary = load_dictionary(workspace, digest)
    assert dictionary.reads == dictionary.writes == (Site(0), Site(1))
    assert dictionary.d_model == 2 * D
    other = Workspace.open(tmp_path / "other", create=True)
    assert bring(other, Path(export(workspace, digest, tmp_path / "copy"))) == digest


@pytest.mark.parametrize(
    "fields", [{}, {"apply_b_dec_to_input": False}, {"rescale_acts_by_decoder_norm": True}], ids=str
)
def test_topk_goes_to_sparsify(fields: dict[str, object], workspace: Workspace, tmp_path: Path) -> None:
    digest = bring(workspace, in_saelens(tmp_path / "source", "topk", **fields))
    copy = Path(export(workspace, digest, tmp_path / "layers.1", format="sparsify"))
    w, dictionary = load_file(copy / "sae.safetensors"), load_dictionary(workspace, digest)
    x = rand(10, D)
    by_hand = torch.stack([sparsify_by_hand(row, w, {}) for row in x])
    torch.testing.assert_close(dictionary.reconstruct(x), by_hand, atol=1e-4, rtol=1e-5)  # fp32, other order
    again = load_dictionary(workspace, bring(workspace, copy))
    torch.testing.assert_close(again.reconstruct(x), by_hand, atol=1e-4, rtol=1e-5)


def test_a_transcoder_goes_to_sparsify(workspace: Workspace, tmp_path: Path) -> None:
    digest = bring(workspace, in_saelens(tmp_path / "source", "topk_skip_transcoder"))
    copy = Path(export(workspace, digest, tmp_path / "layers.1.mlp", format="sparsify"))
    w, x = load_file(copy / "sae.safetensors"), rand(10, D)
    by_hand = torch.stack([sparsify_by_hand(row, w, {"transcode": True}) for row in x])
    torch.testing.assert_close(load_dictionary(workspace, digest).reconstruct(x), by_hand, atol=1e-4, rtol=1e-5)


def test_exports_that_are_refused_leave_nothing(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = bring(workspace, in_saelens(tmp_path / "source", "jumprelu"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(Mistake, match="exists already; nothing is overwritten"):
        export(workspace, digest, out)
    with pytest.raises(Mistake, match="'jumprelu' has no place in sparsify, whose latents are the k largest"):
        export(workspace, digest, out / "new", format="sparsify")
    gated = bring(workspace, in_saelens(tmp_path / "gated", "gated"))
    with pytest.raises(Mistake, match="'gated' has no place in sparsify"):
        export(workspace, gated, out / "new", format="sparsify")
    with pytest.raises(Mistake, match="can be read but not written; choose one of saelens, sparsify"):
        export(workspace, digest, out / "new", format="dictionary_learning")
    copy = saelens.save

    def damaged(folder: Path, target: Path) -> None:
        copy(folder, target)
        w = load_file(target / "sae_weights.safetensors")
        save_file(w | {"b_dec": w["b_dec"] + 1e-3}, target / "sae_weights.safetensors")

    monkeypatch.setattr(saelens, "save", damaged)
    with pytest.raises(Mistake, match="The copy of .* does not give what its format's formula gives"):
        export(workspace, digest, out / "new")
    monkeypatch.setattr(saelens, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Mistake, match="cannot be written: No space left on device"):
        export(workspace, digest, out / "new")
    assert list(out.iterdir()) == []


def test_models_that_are_not_at_hand_are_not_fetched(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = in_dictionary_learning(tmp_path / "source", "AutoEncoder", lm_name="someone/huge-model")
    opened = SimpleNamespace(open=lambda name: pytest.fail(f"{name} was opened"))
    monkeypatch.setattr("training.importing.Subject", opened)
    assert load_dictionary(workspace, bring(workspace, folder)).model == "unknown"
