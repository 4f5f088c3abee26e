"""Dictionaries: saved in the SAELens layout, loaded and proved, and used by the rooms above.

1. `save` writes a trained dictionary through sae-lens into a folder named by the digest of its files.
2. `load_dictionary` checks that the files are still what the digest says, and opens them with sae-lens.
3. `dictionaries_of` finds the newest finished dictionary of each site of a model.

`encode` and `decode` are sae-lens' own, in fp32, so any SAELens tool sees the same latents.
"""

from __future__ import annotations

import math
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from data.errors import Mistake, unknown
from data.store import Workspace
from data.words import Site, digest_files

FILES = ("cfg.json", "sae_weights.safetensors")


@dataclass(frozen=True)
class Dictionary:
    """A trained dictionary: `latents` directions of width `d_model` at `site` of the model with digest `model`."""

    digest: str
    name: str
    model: str
    site: Site
    latents: int
    d_model: int
    sae: Any
    """sae-lens' inference object; the rooms above use what is below."""

    def encode(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_sae"]:
        """The latents' activations at `x`, in fp32; differentiable with respect to `x`."""
        return self.sae.encode(x.float())

    def decode(self, f: Float[Tensor, "... d_sae"]) -> Float[Tensor, "... d_model"]:
        """The reconstruction from activations `f`: f W_dec + b_dec."""
        return self.sae.decode(f)

    @property
    def W_enc(self) -> Float[Tensor, "d_model d_sae"]:  # noqa: N802
        """Encoder weights."""
        return self.sae.W_enc.detach()

    @property
    def W_dec(self) -> Float[Tensor, "d_sae d_model"]:  # noqa: N802
        """Decoder directions, of unit norm."""
        return self.sae.W_dec.detach()

    @property
    def b_dec(self) -> Float[Tensor, " d_model"]:
        """What is reconstructed when no latent is active."""
        return self.sae.b_dec.detach()

    @property
    def massive_norm(self) -> float:
        """The norm beyond which a token is massive and was left out of training; infinite when it was not measured."""
        metadata = getattr(getattr(self.sae, "cfg", None), "metadata", None)
        return float(getattr(metadata, "massive_norm", None) or math.inf)


def save(workspace: Workspace, sae: Any, metadata: Mapping[str, Any]) -> str:
    """Writes the inference form of training dictionary `sae` and returns its digest; whole or not at all."""
    aside = workspace.folder / "dictionaries" / f".new.{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for key, value in metadata.items():
            setattr(sae.cfg.metadata, key, value)
        sae.save_inference_model(aside)
        digest = digest_files([aside / name for name in FILES])
        target = folder_of(workspace, digest)
        if not target.exists():
            os.rename(aside, target)
    except (OSError, SafetensorError) as error:
        raise Mistake(f"A dictionary could not be saved in {str(workspace.folder)!r}: {error}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return digest


def folder_of(workspace: Workspace, digest: str) -> Path:
    """Where the files of a dictionary are."""
    return workspace.folder / "dictionaries" / digest


def load_dictionary(workspace: Workspace, digest: str) -> Dictionary:
    """The dictionary `digest`; raises `Mistake` when it is unknown or its files are gone or changed."""
    name, model, site, latents = _row(workspace, digest)
    folder = folder_of(workspace, digest)
    sae = _open(folder, digest)
    if sae.cfg.d_sae != latents or tuple(sae.W_dec.shape) != (latents, sae.cfg.d_in):
        raise Mistake(
            f"Dictionary {digest} is registered with {latents} latents, but {str(folder)!r} holds a decoder of shape "
            f"{tuple(sae.W_dec.shape)}. Train it again with `lacewing train`."
        )
    return Dictionary(digest, name, model, Site.parse(site), latents, sae.cfg.d_in, sae)


def _row(workspace: Workspace, digest: str) -> tuple[str, str, str, int]:
    with workspace.read() as db:
        rows = db.execute("select dictionary, name, model, site, latents from dictionaries").fetchall()
    for dictionary, *rest in rows:
        if dictionary == digest:
            return rest[0], rest[1], rest[2], rest[3]
    raise unknown("dictionary", digest, [row[0] for row in rows], "`lacewing train` makes some.")


def _open(folder: Path, digest: str) -> Any:
    """sae-lens' object from `folder`, frozen, once the files are proved to be those of `digest`."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise Mistake(f"Dictionary {digest} lacks {', '.join(missing)} in {str(folder)!r}. Train it again.")
    if digest_files([folder / name for name in FILES]) != digest:
        raise Mistake(
            f"The files of dictionary {digest} in {str(folder)!r} are not those that were saved: they are truncated or "
            f"were changed. Restore them, or train again with `lacewing train`."
        )
    sae = open_saelens(folder)
    sae.eval().requires_grad_(False)
    return sae


def open_saelens(folder: Path) -> Any:
    """sae-lens' own inference object from a folder in its layout, in fp32 on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sae-lens' own dependencies deprecate things while importing
        from sae_lens import SAE

    return SAE.load_from_disk(folder, device="cpu", dtype="float32")


def dictionaries_of(workspace: Workspace, model_digest: str, sites: Sequence[Site] | None = None) -> dict[Site, str]:
    """The newest dictionary of a finished run at each site of the model (or each of `sites`), in order of depth."""
    with workspace.read() as db:
        rows = db.execute(
            "select site, dictionary from dictionaries join runs using (run) "
            "where model = ? and status = 'done' order by started, dictionary",
            [model_digest],
        ).fetchall()
    found = {Site.parse(site): dictionary for site, dictionary in rows}
    if missing := [str(site) for site in sites or () if site not in found]:
        raise Mistake(
            f"No dictionary is trained at {', '.join(missing)} for this model. "
            f"Run `lacewing train --sites {','.join(missing)}` first."
        )
    return {site: found[site] for site in sorted(found) if sites is None or site in sites}


__all__ = ["Dictionary", "dictionaries_of", "folder_of", "load_dictionary", "open_saelens", "save"]
