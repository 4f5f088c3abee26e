"""What other tools write and we cannot read is refused in words."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from foreign import (
    LATENTS,
    D,
    K,
    bring,
    in_dictionary_learning,
    in_saelens,
    in_sparsify,
    rand,
)
from sae_lens import SAE
from safetensors.torch import load_file, save_file

from data import parts
from data.errors import Mistake
from data.store import Workspace
from data.words import Site
from training.dictionary import dictionaries_of, load_dictionary
from training.exchange_config import ImportConfig
from training.importing import format_of


def test_the_format_is_recognised_or_what_is_looked_for_is_said(tmp_path: Path) -> None:
    assert format_of(in_saelens(tmp_path / "a", "standard"), None) == "saelens"
    assert format_of(in_sparsify(tmp_path / "layers.1"), None) == "sparsify"
    assert format_of(in_dictionary_learning(tmp_path / "c", "AutoEncoder"), None) == "dictionary_learning"
    (tmp_path / "empty").mkdir()
    with pytest.raises(Mistake) as caught:
        format_of(tmp_path / "empty", None)
    for name in parts.names("training.formats"):
        assert f"{name}: {parts.load('training.formats', name).LOOKS_LIKE}" in str(caught.value)
    with pytest.raises(Mistake, match="Files looked for are sparsify: cfg.json and sae.safetensors"):
        format_of(tmp_path / "a", "sparsify")
    with pytest.raises(Mistake, match="It holds the folders a, c, layers.1: name one of them, as SOURCE/a"):
        format_of(tmp_path, None)
    with pytest.raises(Mistake, match="There is no format 'sparsfy'. Did you mean 'sparsify'"):
        ImportConfig(source="x", format="sparsfy")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"activation": "groupmax"}, "uses the activation 'groupmax', which SAELens cannot represent"),
        ({"k": None, "d_in": D + 1}, r"encoder.weight in .* has shape \(24, 8\), but its config says \(27, 9\)"),
    ],
)
def test_what_sparsify_has_and_we_have_not(
    config: dict[str, object], said: str, workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(Mistake, match=said):
        bring(workspace, in_sparsify(tmp_path / "layers.1", **config))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "batchtopk"}, "is a training checkpoint .batchtopk."),
        ({"architecture": "temporal"}, "is of architecture 'temporal'; read are standard, gated"),
        ({"architecture": "standart"}, "Did you mean 'standard'"),
        ({"normalize_activations": "expected_average_only_in"}, "scaled by a factor that is not in its files"),
        ({"activation_fn": "tanh-relu"}, "uses the activation function 'tanh-relu'"),
        ({"finetuning_scaling_factor": True}, "has a fine-tuned scaling factor"),
        ({"d_sae": 25}, r"W_enc in .* has shape \(8, 24\), but its config says \(8, 25\)"),
        ({"metadata": {"sae_lens_version": "6.54.0"}}, "does not say where in the model it belongs.*--site KIND:LAYER"),
    ],
)
def test_what_sae_lens_has_and_we_have_not(
    change: dict[str, object], said: str, workspace: Workspace, tmp_path: Path
) -> None:
    folder = in_saelens(tmp_path / "source", "standard")
    cfg = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(cfg | change))
    with pytest.raises(Mistake, match=said):
        bring(workspace, folder)
    with workspace.read() as db:
        assert db.execute("select count(*) from dictionaries").fetchall() == [(0,)]


def test_a_config_of_before_version_6(workspace: Workspace, tmp_path: Path) -> None:
    folder = in_saelens(tmp_path / "source", "topk")
    old = {
        "architecture": "standard", "d_in": D, "d_sae": LATENTS, "dtype": "float32", "device": "cpu",
        "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "hook_point": "blocks.1.hook_resid_pre",
        "hook_name": "blocks.1.hook_resid_pre", "normalize_activations": "none", "model_name": "gpt2-small",
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(old))
    dictionary = load_dictionary(workspace, bring(workspace, folder))
    assert (dictionary.site, dictionary.sae.cfg.architecture()) == (Site(1, "resid_pre"), "topk")
    assert ((dictionary.encode(rand(5, D)) > 0).sum(dim=-1) <= K).all()


def test_a_transcoder_must_say_what_it_writes(workspace: Workspace, tmp_path: Path) -> None:
    folder = in_sparsify(tmp_path / "somewhere", transcode=True)
    with pytest.raises(Mistake, match="Say it with --site"):
        bring(workspace, folder)
    with pytest.raises(Mistake, match="Say it with --writes"):
        bring(workspace, folder, site="mlp_in:0")
    dictionary = load_dictionary(workspace, bring(workspace, folder, site="mlp_in:0", writes="mlp_out:0"))
    assert (dictionary.reads, dictionary.writes) == ((Site(0, "mlp_in"),), (Site(0, "mlp_out"),))
    assert dictionaries_of(workspace, "unknown") == {}


class Payload:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("the pickle was run",))


@pytest.mark.parametrize("content", ["object", "module", "number"])
def test_a_pickle_with_anything_but_tensors_is_refused(content: str, workspace: Workspace, tmp_path: Path) -> None:
    folder = in_dictionary_learning(tmp_path / "source", "AutoEncoder")
    state = torch.load(folder / "ae.pt", weights_only=True)
    bad = {"object": state | {"k": Payload()}, "module": torch.nn.Linear(2, 2), "number": state | {"k": 3}}[content]
    torch.save(bad, folder / "ae.pt")
    said = "where a state dict of tensors should be" if content == "number" else "a pickle can run any program"
    with pytest.raises(Mistake, match=said):
        bring(workspace, folder)
    (folder / "ae.pt").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(Mistake, match="a pickle can run any program"):
        bring(workspace, folder)


@pytest.mark.parametrize("name", ["sae_weights.safetensors", "sae.safetensors", "ae.pt"])
def test_truncated_weights_are_said_to_be(name: str, workspace: Workspace, tmp_path: Path) -> None:
    folder = {
        "sae_weights.safetensors": lambda: in_saelens(tmp_path / "layers.1", "standard"),
        "sae.safetensors": lambda: in_sparsify(tmp_path / "layers.1"),
        "ae.pt": lambda: in_dictionary_learning(tmp_path / "layers.1", "AutoEncoder"),
    }[name]()
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(Mistake, match=r"is not a whole .* truncated or was changed"):
        bring(workspace, folder)


def test_missing_tensors_and_broken_configs_are_named(workspace: Workspace, tmp_path: Path) -> None:
    folder = in_sparsify(tmp_path / "layers.1")
    w = load_file(folder / "sae.safetensors")
    del w["W_dec"]
    save_file(w, folder / "sae.safetensors")
    with pytest.raises(Mistake, match="lacks W_dec; it holds b_dec, encoder.bias, encoder.weight"):
        bring(workspace, folder)
    (folder / "cfg.json").write_text('{"d_in": 8')
    with pytest.raises(Mistake, match="cfg.json' is not JSON: it is truncated"):
        bring(workspace, folder)
    (folder / "cfg.json").write_text("[1]")
    with pytest.raises(Mistake, match="holds a JSON list where"):
        bring(workspace, folder)


def test_sources_that_are_not_there(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.fetching.offline", lambda: True)
    with pytest.raises(Mistake, match="There is no folder 'nowhere'. Give a folder, a SAELens RELEASE/SAE_ID"):
        bring(workspace, Path("nowhere"))
    with pytest.raises(Mistake, match="neither a local folder nor to be had from the hub .OSError.. Check the name"):
        bring(workspace, Path("nobody/nothing/layers.1"))
    with pytest.raises(Mistake, match="Did you mean the SAELens release 'gpt2-small-res-jb'"):
        bring(workspace, Path("gpt2-small-res-jp/blocks.8.hook_resid_pre"))
    with pytest.raises(Mistake, match="The release 'gpt2-small-res-jb' has no SAE 'blocks.99'. It has 13, 'blocks."):
        bring(workspace, Path("gpt2-small-res-jb/blocks.99"))
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match="is a file; give the folder that it is in"):
        bring(workspace, tmp_path / "file")


def test_a_release_is_loaded_by_sae_lens_and_a_repository_by_folder(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand-ins for the network alone: what comes back from it is real."""
    opened = SAE.load_from_disk(in_saelens(tmp_path / "release", "standard"))
    asked: list[object] = []
    monkeypatch.setattr(SAE, "from_pretrained", lambda *given, **_: asked.append(given) or opened)
    digest = bring(workspace, Path("gpt2-small-res-jb/blocks.8.hook_resid_pre"))
    assert asked == [("gpt2-small-res-jb", "blocks.8.hook_resid_pre")]
    torch.testing.assert_close(load_dictionary(workspace, digest).W_dec, opened.W_dec.data)

    in_sparsify(tmp_path / "repository" / "layers.1")
    monkeypatch.setattr("training.fetching.snapshot", lambda *given: asked.append(given) or tmp_path / "repository")
    bring(workspace, Path("someone/something/layers.1"))
    assert asked[-1] == ("someone/something", ["layers.1/*", "config.json"])
    with pytest.raises(Mistake, match="It holds the folders layers.1: name one of them, as SOURCE/layers.1"):
        bring(workspace, Path("someone/something"))
    with pytest.raises(Mistake, match="has no folder 'layers.2'"):
        bring(workspace, Path("someone/something/layers.2"))
