"""Dictionaries of other tools: read as their own formulas say, proved, refused in words when they cannot be."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from sae_lens import SAE
from safetensors.torch import load_file, save_file
from torch import Tensor

from data import parts
from data.errors import Mistake
from data.store import Workspace
from data.words import Site
from training.dictionary import class_of, dictionaries_of, folder_of, load_dictionary
from training.exchange_config import ExportConfig, ImportConfig
from training.exporting import export_dictionary
from training.formats import dictionary_learning, saelens, sparsify
from training.importing import format_of, import_dictionary

D, LATENTS, K = 8, 24, 3
HOOKS = {"hook_name": "blocks.1.mlp.hook_in", "hook_name_out": "blocks.1.hook_mlp_out"}


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def in_saelens(folder: Path, architecture: str, **fields: object) -> Path:
    """A dictionary of random weights, none of them zero, as sae-lens itself saves it."""
    kind, config = class_of(architecture)
    transcoder = "transcoder" in architecture
    plain = {"d_out": D, "apply_b_dec_to_input": False} if transcoder else {}
    extra = {"k": K} if "topk" in architecture else {}
    sae = kind(config(**({"d_in": D, "d_sae": LATENTS} | plain | extra | fields)))
    for number, parameter in enumerate(sae.parameters()):
        parameter.data = rand(*parameter.shape, seed=number)
    if hasattr(sae, "threshold"):
        sae.threshold.data.abs_()
    for key, value in (HOOKS if transcoder else {"hook_name": "blocks.1.hook_resid_post"}).items():
        setattr(sae.cfg.metadata, key, value)
    sae.save_model(folder)
    return folder


def in_sparsify(folder: Path, **config: object) -> Path:
    """Random weights in sparsify's layout."""
    folder.mkdir(parents=True)
    weights = {"encoder.weight": rand(LATENTS, D), "encoder.bias": rand(LATENTS), "W_dec": rand(LATENTS, D, seed=1),
               "b_dec": rand(D)}  # fmt: skip
    if config.get("skip_connection"):
        weights["W_skip"] = rand(D, D)
    save_file(weights, folder / "sae.safetensors")
    known = {
        "activation": "topk",
        "expansion_factor": 3,
        "num_latents": 0,
        "k": K,
        "normalize_decoder": True,
        "d_in": D,
    }
    (folder / "cfg.json").write_text(json.dumps(known | config))
    return folder


def sparsify_by_hand(x: Tensor, w: Mapping[str, Tensor], config: Mapping[str, object]) -> Tensor:
    """One token, as sparsify's README and arXiv 2501.18823 describe it."""
    seen = x if config.get("transcode") else x - w["b_dec"]
    pre = [float(row @ seen + bias) for row, bias in zip(w["encoder.weight"], w["encoder.bias"], strict=True)]
    best = sorted(range(LATENTS), key=lambda i: -pre[i])[:K]
    out = w["b_dec"] + sum(max(pre[i], 0) * w["W_dec"][i] for i in best)
    return out + w["W_skip"] @ x if "W_skip" in w else out


def in_dictionary_learning(folder: Path, name: str, **trainer: object) -> Path:
    """Random weights as the classes of dictionary_learning name and shape them."""
    folder.mkdir(parents=True)
    linear = {"encoder.weight": rand(LATENTS, D), "decoder.weight": rand(D, LATENTS, seed=1)}
    rows = {"W_enc": rand(D, LATENTS), "W_dec": rand(LATENTS, D, seed=1), "b_enc": rand(LATENTS), "b_dec": rand(D)}
    state = {
        "AutoEncoder": linear | {"encoder.bias": rand(LATENTS), "bias": rand(D)},
        "AutoEncoderNew": linear | {"encoder.bias": rand(LATENTS), "decoder.bias": rand(D)},
        "GatedAutoEncoder": linear | {"decoder_bias": rand(D), "r_mag": 0.1 * rand(LATENTS, seed=2),
                                      "gate_bias": rand(LATENTS, seed=3), "mag_bias": rand(LATENTS, seed=4)},
        "AutoEncoderTopK": linear | {"encoder.bias": rand(LATENTS), "b_dec": rand(D), "k": torch.tensor(K),
                                     "threshold": torch.tensor(0.5)},
        "BatchTopKSAE": linear | {"encoder.bias": rand(LATENTS), "b_dec": rand(D), "k": torch.tensor(K),
                                  "threshold": torch.tensor(1.5)},
        "MatryoshkaBatchTopKSAE": rows | {"k": torch.tensor(K), "threshold": torch.tensor(1.5),
                                          "group_sizes": torch.tensor([8, 16])},
        "JumpReluAutoEncoder": rows | {"threshold": rand(LATENTS, seed=5).abs()},
    }[name]  # fmt: skip
    torch.save(state, folder / "ae.pt")
    told = {"dict_class": name, "layer": 1, "submodule_name": "resid_post_layer_1", "lm_name": "tiny"} | trainer
    (folder / "config.json").write_text(json.dumps({"trainer": told, "buffer": {}}))
    return folder


def learning_by_hand(x: Tensor, w: Mapping[str, Tensor], name: str) -> Tensor:
    """One token, as the papers of the classes describe it."""
    encoder = w["encoder.weight"] if "encoder.weight" in w else w["W_enc"].T
    decoder = w["decoder.weight"].T if "decoder.weight" in w else w["W_dec"]
    base = next(w[key] for key in ("b_dec", "bias", "decoder_bias", "decoder.bias") if key in w)
    seen = x if name in ("AutoEncoderNew", "JumpReluAutoEncoder") else x - base
    out = base.clone()
    pre = encoder @ seen + next((w[key] for key in ("encoder.bias", "b_enc") if key in w), torch.zeros(LATENTS))
    for i in range(LATENTS):
        f = pre[i].relu()
        if name == "GatedAutoEncoder":
            f = (w["r_mag"][i].exp() * pre[i] + w["mag_bias"][i]).relu() * (pre[i] + w["gate_bias"][i] > 0)
        elif name == "AutoEncoderTopK":
            f = f * (pre[i] >= pre.sort(descending=True).values[K - 1])
        elif "threshold" in w:
            f = f * (pre[i] > w["threshold"].expand(LATENTS)[i])
        out = out + f * decoder[i]
    return out


def bring(workspace: Workspace, folder: Path, **options: object) -> str:
    return import_dictionary(workspace, ImportConfig(source=str(folder), **options))


def assert_computes(workspace: Workspace, digest: str, by_hand: Callable[[Tensor], Tensor]) -> None:
    x = rand(20, D, seed=9) * 3
    expected = torch.stack([by_hand(row) for row in x])
    # sums of some dozen fp32 numbers of size 10 in another order
    torch.testing.assert_close(load_dictionary(workspace, digest).reconstruct(x), expected, atol=1e-4, rtol=1e-5)


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
    import test_formats

    monkeypatch.setattr(test_formats, "D", 32)
    folder = in_sparsify(tmp_path / "layers.1", k=4, num_latents=LATENTS)
    digest = bring(workspace, folder, model=str(tiny_model), text=str(small_text), tokens=600)
    with workspace.read() as db:
        metrics = json.loads(db.execute("select metrics from dictionaries").fetchall()[0][0])
    assert metrics["l0"] == pytest.approx(4, abs=0.01)
    assert metrics["explained_variance_lower"] < metrics["explained_variance"] < metrics["explained_variance_upper"]
    assert metrics["explained_variance"] < metrics["pca_explained_variance"]  # random weights
    assert load_dictionary(workspace, digest).noted("model_name") == str(tiny_model)
    monkeypatch.setattr(test_formats, "D", 8)
    with pytest.raises(Mistake, match="for activations of width 8, and .* has 32"):
        bring(workspace, in_sparsify(tmp_path / "layers.0"), model=str(tiny_model))
    monkeypatch.setattr(test_formats, "D", 32)
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
    import test_formats

    monkeypatch.setattr(test_formats, "LATENTS", 8_000)
    monkeypatch.setattr(test_formats, "D", 64)
    bring(workspace, in_saelens(tmp_path / "jump", "jumprelu"))
    bring(workspace, in_saelens(tmp_path / "top", "topk", k=64))


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
