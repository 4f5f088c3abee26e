"""Dictionaries are proved when loaded: unknown, changed, truncated or of another width, they are refused in words."""

from __future__ import annotations

import pytest
import torch

from data import runs
from data.errors import Mistake
from data.store import Workspace, append
from data.words import Site
from training.architectures import batchtopk
from training.config import TrainConfig
from training.dictionary import dictionaries_of, folder_of, load_dictionary, save


def register(workspace: Workspace, *, latents: int = 24, site: str = "resid_post:1", seed: int = 0) -> str:
    """A dictionary of 24 latents, saved, and in the table under a finished run."""
    torch.manual_seed(seed)
    sae = batchtopk.build(TrainConfig(latents=24, k=3), 8)
    batchtopk.calibrate(sae, torch.randn(200, 8))
    digest = save(workspace, sae, {"hook_name": Site.parse(site).hook})
    with runs.start(workspace, "train", {"seed": seed}) as run:
        row = {
            "dictionary": digest, "name": "d", "model": "m", "site": site, "layer": 1, "architecture": "batchtopk",
            "latents": latents, "run": run.run, "metrics": {},
        }  # fmt: skip
        with workspace.write() as db:
            append(db, "dictionaries", [row])
    return digest


def test_encode_and_decode_are_the_written_out_formulas(workspace: Workspace) -> None:
    dictionary = load_dictionary(workspace, register(workspace))
    x = torch.randn(5, 3, 8, requires_grad=True)
    pre = x @ dictionary.W_enc + dictionary.sae.b_enc
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
    torch.manual_seed(0)
    sae = batchtopk.build(TrainConfig(latents=24, k=3), 8)
    assert save(workspace, sae, {}) == save(workspace, sae, {})
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
