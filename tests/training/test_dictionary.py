"""Dictionaries are proved when loaded: unknown, changed, truncated or of another width, they are refused in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

from data import runs
from data.errors import Mistake
from data.store import Workspace, append
from data.words import SITE_KINDS, Site
from training.dictionary import Dictionary, dictionaries_of, folder_of, load_dictionary, places, save, site_of


def made(seed: int, **fields: Any) -> JumpReLUSAE:
    """A JumpReLU dictionary of 24 latents of width 8, some of which fire."""
    torch.manual_seed(seed)
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=8, d_sae=24, **fields))
    for parameter in sae.parameters():
        parameter.data.normal_()
    sae.threshold.data.abs_()
    return sae


def register(
    workspace: Workspace, *, latents: int = 24, site: str = "resid_post:1", seed: int = 0, **metadata: Any
) -> str:
    """A dictionary of 24 latents, saved, and in the table under a finished run."""
    sae = made(seed)
    digest = save(workspace, sae, {"hook_name": Site.parse(site).hook} | metadata)
    enter(workspace, [{"dictionary": digest, "site": site, "latents": latents}])
    return digest


def enter(workspace: Workspace, rows: Sequence[dict[str, Any]]) -> None:
    """Puts rows in the table under one finished run."""
    with runs.start(workspace, "train", {"rows": len(rows)}) as run, workspace.write() as db:
        plain = {"name": "d", "model": "m", "layer": 1, "architecture": "jumprelu", "latents": 24, "run": run.run,
                 "metrics": {}}  # fmt: skip
        append(db, "dictionaries", [plain | row for row in rows])


def test_encode_and_decode_are_the_written_out_formulas(workspace: Workspace) -> None:
    dictionary = load_dictionary(workspace, register(workspace))
    x = torch.randn(5, 3, 8, requires_grad=True)
    pre = (x - dictionary.b_dec) @ dictionary.W_enc + dictionary.sae.b_enc
    f = dictionary.encode(x)
    torch.testing.assert_close(f, torch.where(pre > dictionary.sae.threshold, pre, 0).relu())
    torch.testing.assert_close(dictionary.decode(f), f @ dictionary.W_dec + dictionary.b_dec)
    f.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (f > 0).float() @ dictionary.W_enc.T)
    assert not any(p.requires_grad for p in dictionary.sae.parameters())
    assert (dictionary.latents, dictionary.d_model, dictionary.site) == (24, 8, Site(1))


def test_saving_twice_gives_the_same_digest_and_leaves_nothing_aside(workspace: Workspace) -> None:
    assert register(workspace) != register(workspace, seed=1)
    assert save(workspace, made(0), {}) == save(workspace, made(0), {})
    assert not list((workspace.folder / "dictionaries").glob(".*"))


def test_unknown_is_answered_with_the_nearest(workspace: Workspace) -> None:
    digest = register(workspace)
    with pytest.raises(Mistake) as caught:
        load_dictionary(workspace, digest[:-1] + "x")
    assert f"Did you mean '{digest}'?" in str(caught.value)


@pytest.mark.parametrize("harm", ["truncated", "changed", "config"])
def test_files_that_are_not_those_saved_are_refused(harm: str, workspace: Workspace) -> None:
    digest = register(workspace)
    path = folder_of(workspace, digest) / ("cfg.json" if harm == "config" else "sae_weights.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if harm == "truncated" else content[:-1] + b"\x7f")
    with pytest.raises(Mistake, match="are not those that were saved: they are truncated or were changed"):
        load_dictionary(workspace, digest)


def test_missing_files_are_named(workspace: Workspace) -> None:
    digest = register(workspace)
    (folder_of(workspace, digest) / "cfg.json").unlink()
    with pytest.raises(Mistake, match=r"lacks cfg.json .* Train it again"):
        load_dictionary(workspace, digest)


def test_another_width_than_registered_is_refused(workspace: Workspace) -> None:
    digest = register(workspace, latents=99)
    with pytest.raises(Mistake, match=r"registered with 99 latents, but .* holds a decoder of shape \(24, 8\)"):
        load_dictionary(workspace, digest)


def test_the_newest_finished_one_of_each_site_is_found(workspace: Workspace) -> None:
    register(workspace)
    newer = register(workspace, seed=1)
    shallow = register(workspace, seed=2, site="resid_post:0")
    assert dictionaries_of(workspace, "m") == {Site(0): shallow, Site(1): newer}
    assert dictionaries_of(workspace, "m", [Site(1)]) == {Site(1): newer}
    assert dictionaries_of(workspace, "another") == {}
    with pytest.raises(
        Mistake, match=r"No dictionary is trained at resid_post:3 .* `lacewing train --sites resid_post:3`"
    ):
        dictionaries_of(workspace, "m", [Site(1), Site(3)])


def test_of_several_at_a_site_the_first_of_its_run_is_taken(workspace: Workspace) -> None:
    saved = sorted(save(workspace, made(seed), {"hook_name": Site(1).hook}) for seed in range(4))
    rows = [
        {"dictionary": d, "site": "resid_post:1", "metrics": {"place": n}}
        for d, n in zip(saved, [2, 0, 3, 1], strict=True)
    ]
    enter(workspace, rows)
    assert dictionaries_of(workspace, "m") == {Site(1): saved[1]}
    newer = register(workspace, seed=9)  # says no place: it counts as the first
    assert dictionaries_of(workspace, "m") == {Site(1): newer}


def test_what_cannot_be_spliced_at_one_site_is_passed_over(workspace: Workspace) -> None:
    plain = register(workspace)
    both = ["resid_post:1", "resid_post:2"]
    crosscoder = register(workspace, seed=1, reads=both, writes=both)
    transcoder = register(workspace, seed=2, site="mlp_in:1", reads=["mlp_in:1"], writes=["mlp_out:1"])
    normalised = save(workspace, made(3, normalize_activations="layer_norm"), {"hook_name": Site(1).hook})
    enter(workspace, [{"dictionary": normalised, "site": "resid_post:1"}])
    assert dictionaries_of(workspace, "m") == {Site(1): plain}
    assert not load_dictionary(workspace, crosscoder).plain
    loaded = load_dictionary(workspace, transcoder)
    assert (loaded.reads, loaded.writes, loaded.site) == (
        (Site(1, "mlp_in"),),
        (Site(1, "mlp_out"),),
        Site(1, "mlp_in"),
    )
    loaded = load_dictionary(workspace, crosscoder)
    assert loaded.reads == loaded.writes == (Site(1), Site(2))


def test_a_dictionary_whose_files_are_gone_is_missed_when_it_is_loaded(workspace: Workspace) -> None:
    digest = register(workspace)
    (folder_of(workspace, digest) / "cfg.json").unlink()
    assert dictionaries_of(workspace, "m") == {Site(1): digest}


@pytest.mark.parametrize("kind", SITE_KINDS)
def test_hook_names_are_read_back_as_sites(kind: str) -> None:
    assert site_of(Site(7, kind).hook) == Site(7, kind)


@pytest.mark.parametrize("hook", [None, "", "blocks.3.ln2.hook_normalized", "hook_embed", "blocks.x.hook_resid_post"])
def test_hooks_that_are_no_site_are_none(hook: str | None) -> None:
    assert site_of(hook) is None


def test_sites_are_taken_from_lists_before_hooks() -> None:
    hooks = {"hook_name": Site(1, "mlp_in").hook, "hook_name_out": Site(1, "mlp_out").hook}
    assert places({"metadata": hooks}) == ((Site(1, "mlp_in"),),) * 2  # what has no d_out writes what it reads
    assert places({"metadata": hooks, "d_out": 8}) == ((Site(1, "mlp_in"),), (Site(1, "mlp_out"),))
    assert (
        places({"metadata": hooks | {"reads": ["resid_pre:3", "resid_pre:4"]}})
        == ((Site(3, "resid_pre"), Site(4, "resid_pre")),) * 2
    )
    assert places({"metadata": {}, "d_out": 8}) == ((), ())
    assert places({"hook_name": Site(2).hook}) == ((Site(2),), (Site(2),))  # as sae-lens wrote it before version 6


def test_a_dictionary_of_one_site_reads_and_writes_it() -> None:
    dictionary = Dictionary("x", "x", "m", Site(3), 24, 8, made(0))
    assert dictionary.reads == dictionary.writes == (Site(3),)
    assert dictionary.plain
    x = torch.randn(2, 8)
    torch.testing.assert_close(dictionary.reconstruct(x), dictionary.decode(dictionary.encode(x)))


def test_a_transcoder_that_does_not_say_what_it_writes_is_refused(workspace: Workspace) -> None:
    from training.dictionary import class_of

    kind, config = class_of("transcoder")
    digest = save(workspace, kind(config(d_in=8, d_sae=24, d_out=8, apply_b_dec_to_input=False)), {})
    enter(workspace, [{"dictionary": digest, "site": "mlp_in:1"}])
    with pytest.raises(Mistake, match="does not say which site it writes. Import it again with --writes KIND:LAYER"):
        load_dictionary(workspace, digest)


def test_an_architecture_that_nobody_knows(workspace: Workspace) -> None:
    digest = register(workspace)
    path = folder_of(workspace, digest) / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architecture": "jumprelo"}))
    from training.dictionary import open_saelens

    with pytest.raises(Mistake, match="no architecture of a finished dictionary 'jumprelo'. Did you mean 'jumprelu'"):
        open_saelens(path.parent)


def test_equal_content_has_equal_files_whatever_the_order_of_its_fields(workspace: Workspace) -> None:
    one, two = made(0), made(0)
    assert save(workspace, one, {"a": 1, "b": 2}) == save(workspace, two, {"b": 2, "a": 1})


def test_k_is_found_where_sae_lens_notes_it() -> None:
    sae = made(0)
    dictionary = Dictionary("x", "x", "m", Site(3), 24, 8, sae)
    assert dictionary.k is None
    sae.cfg.metadata.training_architecture_details = {"k": 5}
    assert dictionary.k == 5
