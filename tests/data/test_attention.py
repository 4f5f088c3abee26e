"""Attention from inside agrees with attention computed by hand, for every way in which models call it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from data import attention
from data.errors import Mistake
from data.models import Subject
from data.words import Site

TOKENS = torch.randint(1, 50, (3, 7), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def others(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Subject]:
    """Other architectures: heads from one projection; capped scores in a window, called as `eager`."""
    words = len(subject.tokenizer)
    torch.manual_seed(0)
    models = {
        "gpt2": GPT2LMHeadModel(
            GPT2Config(vocab_size=words, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0)
        ),
        "gemma2": Gemma2ForCausalLM(
            Gemma2Config(
                vocab_size=words, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, head_dim=12, sliding_window=3,
                attn_logit_softcapping=0.1, attn_implementation="eager",
            )
        ),
    }  # fmt: skip
    opened: dict[str, Subject] = {}
    for name, model in models.items():
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder)
        subject.tokenizer.save_pretrained(folder)
        opened[name] = Subject.open(str(folder))
    return {"llama": subject, **opened}


def by_hand(one: attention.Attended) -> torch.Tensor:
    """The output of attention [batch pos width], from its definition."""
    pattern = torch.softmax(one.masked(one.scores()), dim=-1)
    return attention.side_by_side(pattern @ one.per_query_head(one.v))


@pytest.mark.parametrize(
    ("name", "implementation"),
    [("llama", "sdpa"), ("llama", "eager"), ("gpt2", "sdpa"), ("gpt2", "eager"), ("gemma2", "eager")],
)
def test_attention_can_be_computed_again(others: Mapping[str, Subject], name: str, implementation: str) -> None:
    model = others[name]
    own = model.model.config._attn_implementation
    model.model.config._attn_implementation = implementation
    try:
        found = model.attention(TOKENS, [0, 1])
        z = model.read(TOKENS, [Site(0, "attn_z"), Site(1, "attn_z")])
    finally:
        model.model.config._attn_implementation = own
    for layer, one in found.items():
        torch.testing.assert_close(by_hand(one), z[Site(layer, "attn_z")], atol=1e-6, rtol=1e-5)
    assert found[0].softcap == (0.1 if name == "gemma2" else None)


def test_a_window_is_seen(others: Mapping[str, Subject]) -> None:
    one = others["gemma2"].attention(TOKENS, [0])[0]
    seen = torch.softmax(one.masked(one.scores()), dim=-1)[0, 0] > 0
    expected = torch.ones(7, 7, dtype=torch.bool).tril() & ~torch.ones(7, 7, dtype=torch.bool).tril(-3)
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_what_is_read_is_what_attention_gets(others: Mapping[str, Subject], name: str) -> None:
    model = others[name]
    sites = [Site(1, kind) for kind in attention.KINDS]
    values, one = model.read(TOKENS, sites), model.attention(TOKENS, [1])[1]
    for site, part in zip(sites, (one.q, one.k, one.v), strict=True):
        assert torch.equal(values[site], attention.side_by_side(part))
        assert values[site].shape == (3, 7, model.width(site))
    assert values[sites[1]].shape[-1] * model.heads == values[sites[0]].shape[-1] * model.kv_heads


def test_positions_are_rotated_in(subject: Subject) -> None:
    """As transformer-lens' hook of the same name says, where heads stand apart."""
    sites = [Site(1, kind) for kind in attention.KINDS]
    _, cache = subject.bridge.run_with_cache(TOKENS, prepend_bos=False, names_filter=[s.hook for s in sites])
    for site, value in subject.read(TOKENS, sites).items():
        torch.testing.assert_close(value, cache[site.hook].flatten(2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", attention.KINDS)
def test_an_edit_changes_just_what_it_should(subject: Subject, kind: str) -> None:
    """One head's part at one position, taken from another prompt: attention by hand says what comes out."""
    site, width = Site(1, kind), 8
    other = subject.read(TOKENS.flip(0), [site])[site]

    def edit(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[:, 4, width : 2 * width] = other[:, 4, width : 2 * width]
        return x

    found: dict[str, torch.Tensor] = {}
    z = Site(1, "attn_z")
    with torch.no_grad():
        subject.run(TOKENS, edits={site: edit, z: lambda x: found.update(z=x)}, stop=z)
    one = subject.attention(TOKENS, [1])[1]
    {"attn_q": one.q, "attn_k": one.k, "attn_v": one.v}[kind][:, 1, 4] = other[:, 4, width : 2 * width]
    torch.testing.assert_close(found["z"], by_hand(one), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(found["z"], subject.read(TOKENS, [z])[z])


def test_it_leaves_no_trace(subject: Subject) -> None:
    """The model's own attention is called again, also after a pass that was stopped or failed."""
    own = subject.model.config._attn_implementation
    before = subject.run(TOKENS)

    def fail(_: torch.Tensor) -> None:
        raise ValueError

    subject.read(TOKENS, [Site(1, "attn_k")])
    with pytest.raises(ValueError):  # noqa: PT011
        subject.run(TOKENS, edits={Site(0, "attn_q"): fail})
    assert subject.model.config._attn_implementation == own
    assert not any(attention._changes.values())
    assert torch.equal(subject.run(TOKENS, edits={Site(0, "attn_q"): lambda x: None}), before)


def test_threads_do_not_meet(subject: Subject) -> None:
    tokens, site = TOKENS.repeat(9, 1), Site(1, "attn_k")
    torch.set_num_threads(3)
    try:
        together = subject.read(tokens, [site])[site]
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(together[:3], subject.read(TOKENS, [site])[site], atol=1e-5, rtol=1e-5)


def test_attention_that_is_not_called_by_name(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject.part(1, "attn"), "forward", lambda hidden_states, **_: (hidden_states, None))
    with pytest.raises(
        Mistake, match=r"in block 1 is not called by its name in transformers, .* heads at attn_z:1 can"
    ):
        subject.attention(TOKENS, [1])


def test_scores_with_sinks_are_refused(subject: Subject) -> None:
    q = torch.zeros(1, 2, 3, 4)
    with pytest.raises(Mistake, match="adds s_aux to its scores, which cannot be computed again"):
        attention._attended(subject.part(0, "attn"), [q, q, q], None, {"s_aux": torch.zeros(2)}, "eager")
