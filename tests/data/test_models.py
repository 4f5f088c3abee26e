"""Subject models: sites agree with transformer-lens, a pass begins and ends where it is told, names are found."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from data import weights
from data.config import DEFAULT_MODEL
from data.errors import Mistake
from data.models import INNER, SUPPORTED, Subject
from data.weights import _packaged_gguf, locate
from data.words import Site


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randint(1, 300, (3, 9), generator=torch.Generator().manual_seed(0))


def test_sites_agree_with_transformer_lens(subject: Subject, tokens: torch.Tensor) -> None:
    """The plain forward's value at each site is that of the Bridge's hook of the same name."""
    sites = [Site(layer, kind) for layer in range(subject.layers) for kind in SUPPORTED]
    values = subject.read(tokens, sites)
    _, cache = subject.bridge.run_with_cache(tokens, prepend_bos=False, names_filter=[s.hook for s in sites])
    for site in sites:
        torch.testing.assert_close(values[site], cache[site.hook], msg=str(site))


def test_logits_agree_with_transformer_lens(subject: Subject, tokens: torch.Tensor) -> None:
    logits = subject.run(tokens)
    assert logits is not None
    torch.testing.assert_close(logits, subject.bridge(tokens, prepend_bos=False))
    torch.testing.assert_close(subject.run(tokens, keep=torch.tensor([-1])), logits[:, -1:])


@pytest.mark.parametrize("site", [Site(0), Site(1), Site(0, "resid_pre"), Site(1, "resid_pre")])
def test_a_pass_that_begins_at_a_site(subject: Subject, tokens: torch.Tensor, site: Site) -> None:
    value = subject.read(tokens, [site])[site]
    torch.testing.assert_close(subject.run(tokens, start=(site, value)), subject.run(tokens))
    doubled = subject.run(tokens, edits={site: lambda x: 2 * x})
    torch.testing.assert_close(subject.run(tokens, start=(site, 2 * value)), doubled)


def test_a_pass_leaves_the_model_as_it_was(subject: Subject, tokens: torch.Tensor) -> None:
    before = subject.run(tokens)
    subject.run(tokens, start=(Site(1), torch.zeros(3, 9, subject.d_model)), edits={Site(1): lambda x: x + 1})
    with pytest.raises(ValueError, match="inside"):
        subject.run(tokens, edits={Site(0): _fail})
    torch.testing.assert_close(subject.run(tokens), before, rtol=0, atol=0)


def _fail(_: torch.Tensor) -> None:
    raise ValueError("inside")


def test_a_stop_runs_nothing_deeper(subject: Subject, tokens: torch.Tensor) -> None:
    seen: list[Site] = []
    edits = {site: lambda _, site=site: seen.append(site) for site in (Site(0), Site(1))}
    assert subject.run(tokens, edits=edits, stop=Site(0)) is None
    assert seen == [Site(0)]


def test_right_padding_changes_nothing_before_it(subject: Subject, tokens: torch.Tensor) -> None:
    padded = torch.cat([tokens, torch.zeros(3, 4, dtype=torch.long)], dim=1)
    logits, longer = subject.run(tokens), subject.run(padded)
    assert longer is not None
    torch.testing.assert_close(longer[:, :9], logits)


def test_another_architecture(subject: Subject, tmp_path: Path, tokens: torch.Tensor) -> None:
    """GPT-2 keeps its modules under other names; they are found without a list of ours."""
    shape = GPT2Config(
        vocab_size=len(subject.tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=0
    )
    GPT2LMHeadModel(shape).save_pretrained(tmp_path)
    subject.tokenizer.save_pretrained(tmp_path)
    other = Subject.open(str(tmp_path))
    sites = [Site(1, kind) for kind in SUPPORTED]
    values = other.read(tokens, sites)
    _, cache = other.bridge.run_with_cache(tokens, prepend_bos=False, names_filter=[s.hook for s in sites])
    for site in sites:
        torch.testing.assert_close(values[site], cache[site.hook], msg=str(site))
    torch.testing.assert_close(other.run(tokens, start=(Site(1), values[Site(1)])), other.run(tokens))


@pytest.mark.parametrize("kind", INNER)
def test_sites_inside_a_part_are_the_input_of_its_projection(subject: Subject, kind: str) -> None:
    """What is put there reaches the logits through the projection; without an edit nothing changes."""
    tokens, site = torch.tensor([[0, 5, 9]]), Site(1, kind)
    seen: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        plain = subject.run(tokens, edits={site: lambda x: seen.update(x=x)})
        out = subject.read(tokens, [Site(1, {"attn_z": "attn_out", "mlp_post": "mlp_out"}[kind])])
        _, cache = subject.bridge.run_with_cache(tokens, prepend_bos=False, names_filter=[site.hook])
        changed = subject.run(tokens, edits={site: lambda x: 2 * x})
    assert plain is not None
    assert seen["x"].shape == (1, 3, subject.width(site))
    projection = subject.model.get_submodule("model.layers.1." + subject.modules[INNER[kind]])
    torch.testing.assert_close(projection(seen["x"]), next(iter(out.values())))
    torch.testing.assert_close(seen["x"], cache[site.hook].reshape(seen["x"].shape))  # heads side by side
    assert not torch.allclose(plain, changed)


def test_the_stream_between_attention_and_mlp_goes_to_both(subject: Subject) -> None:
    """What is put there reaches the MLP and passes it by: in the end stands the one and what the other makes of it."""
    tokens, mid = torch.tensor([[0, 5, 9]]), Site(0, "resid_mid")
    seen: dict[str, torch.Tensor] = {}
    put = torch.randn(1, 3, subject.d_model, generator=torch.Generator().manual_seed(0))
    names = {Site(0, "mlp_out"): "mlp", Site(0): "end", Site(1, "resid_pre"): "next"}
    edits = {site: functools.partial(seen.__setitem__, name) for site, name in names.items()}
    with torch.no_grad():
        subject.run(tokens, edits={mid: lambda _: put, **edits})
        mlp = subject.part(0, "mlp")(subject.part(0, "ln2")(put))
    torch.testing.assert_close(seen["mlp"], mlp)
    torch.testing.assert_close(seen["end"], put + mlp)
    assert torch.equal(seen["end"], seen["next"])
    plain, read = subject.run(tokens), subject.run(tokens, edits={mid: lambda x: seen.update(mid=x)})
    assert torch.equal(plain, read)


def test_an_edit_that_is_held_is_made_in_every_pass(subject: Subject) -> None:
    """Also when many rows are read, which threads with modules of their own would do; afterwards it is gone."""
    tokens, site = torch.randint(1, 50, (20, 5), generator=torch.Generator().manual_seed(0)), Site(1)
    torch.set_num_threads(3)
    try:
        before = subject.read(tokens, [site])[site]
        with subject.hook(Site(0, "attn_out"), torch.zeros_like):
            under = subject.read(tokens, [site])[site]
        after = subject.read(tokens, [site])[site]
    finally:
        torch.set_num_threads(1)
    seen: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        subject.run(tokens, edits={Site(0, "attn_out"): torch.zeros_like, site: lambda x: seen.update(x=x)})
    torch.testing.assert_close(under, seen["x"], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(under, before)
    assert torch.equal(after, before)


def test_parallel_blocks_have_no_stream_in_between(subject: Subject) -> None:
    other = replace(subject, modules={k: v for k, v in subject.modules.items() if k != "resid_mid"})
    with pytest.raises(Mistake, match="blocks have no resid_mid of their own; choose resid_pre or resid_post"):
        other.run(torch.tensor([[0]]), edits={Site(0, "resid_mid"): lambda x: x})


def test_wrong_sites(subject: Subject) -> None:
    with pytest.raises(Mistake, match=r"has 2 blocks \(0 to 1\); there is no site resid_post:7"):
        subject.check(Site(7))
    with pytest.raises(Mistake, match="There is no readable site 'attn_z'"):
        subject.check(Site(0, "attn_z"))


def test_models_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Mistake, match="holds no model: config.json is missing"):
        Subject.open(str(tmp_path))
    with pytest.raises(Mistake, match="There is no model folder 'smollm'"):
        Subject.open("smollm")
    with pytest.raises(Mistake, match="neither a local folder nor to be had from the hub"):
        Subject.open("nobody/nothing")


def test_a_broken_model_folder(tiny_model: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_model / name).read_bytes())
    with pytest.raises(Mistake, match=r"has no .safetensors file"):
        Subject.open(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes((tiny_model / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(Mistake, match="cannot be opened"):
        Subject.open(str(tmp_path))


def test_the_prefix_belongs_to_the_model(subject: Subject, tiny_model: Path, tmp_path: Path) -> None:
    assert subject.prefix == (0,)
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in tiny_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "lacewing.json").write_text('{"prefix": [5, 6]}')
    assert Subject.open(str(folder)).prefix == (5, 6)


@pytest.mark.real
def test_the_packaged_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolLM2 without any network, from its wheel: the right shape, the right prefix, and it knows a capital."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    subject = Subject.open()
    assert (subject.layers, subject.d_model, subject.prefix) == (30, 576, (0,))
    tokens = torch.tensor([[*subject.prefix, *subject.tokenize("The capital of France is")]])
    logits = subject.run(tokens, keep=torch.tensor([-1]))
    assert logits is not None
    assert subject.spell([int(logits[0, -1].argmax())]) == [" Paris"]
    sites = [Site(15), Site(20, "attn_out"), Site(25)]
    values = subject.read(tokens, sites)
    _, cache = subject.bridge.run_with_cache(tokens, prepend_bos=False, names_filter=[s.hook for s in sites])
    for site in sites:
        # The Bridge runs eager attention, the plain module a fused one: rounding differs, in proportion to the values.
        difference = (values[site] - cache[site.hook]).norm() / cache[site.hook].norm()
        assert difference < 1e-5, site


def test_the_cache_folder_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACEWING_CACHE", str(tmp_path))
    assert weights.cache_folder() == tmp_path


def test_threads_read_the_same_bit_for_bit(subject: Subject) -> None:
    """Each thread has modules of its own over the same weights; hooks of one see nothing of another."""
    tokens = torch.randint(1, 50, (37, 12), generator=torch.Generator().manual_seed(0))
    sites = [Site(0, "mlp_in"), Site(1)]
    alone = subject.read(tokens, sites)
    torch.set_num_threads(3)
    try:
        together = subject.read(tokens, sites)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    whole = subject._read(tokens, sites)
    for site in sites:
        assert torch.equal(alone[site], together[site])
        # one pass of 37 rows blocks its matrix products otherwise: the last bits of fp32
        torch.testing.assert_close(alone[site], whole[site], atol=1e-5, rtol=1e-5)
    twins = subject._crew.hands
    assert len(twins) == 3
    assert next(twins[0].model.parameters()) is next(subject.model.parameters())


def test_a_file_that_is_no_gguf_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACEWING_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(Mistake, match=r"model\.gguf' cannot be read as a model in GGUF"):
        locate(str(file))
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.real
def test_a_gguf_is_a_model_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged file, named as a user would name one of their own, is the default model."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    path = _packaged_gguf()
    assert path is not None
    assert locate(str(path)) == locate(DEFAULT_MODEL)
