"""Dictionaries: saved in the SAELens layout, loaded and proved, and used by the rooms above.

1. `save` writes a dictionary through sae-lens into a folder named by the digest of its files.
2. `load_dictionary` checks that the files are still what the digest says, and opens them with sae-lens.
3. `places` tells from its `cfg.json` which sites a dictionary reads and writes: one and the same for a sparse
   autoencoder, two for a transcoder (Dunefsky et al. 2024, arXiv 2406.11944), several for a crosscoder.
4. `dictionaries_of` finds the newest finished autoencoder of each site of a model.

`encode` and `decode` are sae-lens' own, in fp32, so any SAELens tool sees the same latents. What sae-lens has no class
for is a file in training/inference.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from data import parts
from data.errors import Mistake, unknown
from data.store import Workspace
from data.words import SITE_KINDS, Site, digest_files

FILES = ("cfg.json", "sae_weights.safetensors")


@dataclass(frozen=True)
class Dictionary:
    """A trained dictionary: `latents` directions for activations of width `d_model`, of the model with digest `model`.

    `reads` are the sites whose values, one after the other, it encodes; `writes` those it reconstructs. Both are
    `(site,)` unless told otherwise; `site` is the first one read.
    """

    digest: str
    name: str
    model: str
    site: Site
    latents: int
    d_model: int
    """The width of what it encodes: the model's, times the number of sites it reads."""
    sae: Any
    """sae-lens' inference object; the rooms above use what is below."""
    reads: tuple[Site, ...] = ()
    writes: tuple[Site, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads", self.reads or (self.site,))
        object.__setattr__(self, "writes", self.writes or self.reads)

    @property
    def plain(self) -> bool:
        """Whether it is an autoencoder of one site, as circuits splice them in."""
        return self.reads == self.writes == (self.site,)

    def encode(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_sae"]:
        """The latents' activations at `x`, in fp32; differentiable with respect to `x`."""
        return self.sae.encode(x.float())

    def decode(self, f: Float[Tensor, "... d_sae"]) -> Float[Tensor, "... d_out"]:
        """What activations `f` say of the sites written: f W_dec + b_dec."""
        return self.sae.decode(f)

    def reconstruct(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_out"]:
        """The value at the sites written, from `x` at those read: decoded, and with the skip connection if it has one."""
        decoded = self.decode(self.encode(x))
        skip = getattr(self.sae, "W_skip", None)
        return decoded if skip is None else decoded + x.float() @ skip.T

    @property
    def W_enc(self) -> Float[Tensor, "d_model d_sae"]:  # noqa: N802
        """Encoder weights."""
        return self.sae.W_enc.detach()

    @property
    def W_dec(self) -> Float[Tensor, "d_sae d_out"]:  # noqa: N802
        """Decoder directions, of unit norm when they were trained here."""
        return self.sae.W_dec.detach()

    @property
    def b_dec(self) -> Float[Tensor, " d_out"]:
        """What is reconstructed when no latent is active."""
        return self.sae.b_dec.detach()

    @property
    def massive_norm(self) -> float:
        """The norm beyond which a token is massive and was left out of training; infinite when it was not measured."""
        return float(self.noted("massive_norm") or math.inf)

    @property
    def k(self) -> float | None:
        """How many latents it was trained to have active on a token, where it says so."""
        details = self.noted("training_architecture_details") or {}
        return getattr(getattr(self.sae, "cfg", None), "k", None) or self.noted("k") or details.get("k")

    def noted(self, name: str) -> Any:
        """What the dictionary's metadata say of `name`, or None."""
        metadata = getattr(getattr(self.sae, "cfg", None), "metadata", None)
        return getattr(metadata, name, None)


def save(workspace: Workspace, sae: Any, metadata: Mapping[str, Any]) -> str:
    """Writes the inference form of `sae` and returns its digest; whole or not at all."""
    aside = workspace.folder / "dictionaries" / f".new.{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for key, value in metadata.items():
            setattr(sae.cfg.metadata, key, value)
        getattr(sae, "save_inference_model", sae.save_model)(aside)
        cfg = aside / FILES[0]
        cfg.write_text(json.dumps(json.loads(cfg.read_text()), sort_keys=True))  # so that equal content is equal files
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
    if sae.cfg.d_sae != latents or len(sae.W_dec) != latents:
        raise Mistake(
            f"Dictionary {digest} is registered with {latents} latents, but {str(folder)!r} holds a decoder of shape "
            f"{tuple(sae.W_dec.shape)}. Train it again with `lacewing train`."
        )
    first = Site.parse(site)
    reads, writes = places(read_json(folder / "cfg.json"))
    if not writes and hasattr(sae.cfg, "d_out"):
        raise Mistake(
            f"Transcoder {digest} does not say which site it writes. Import it again with --writes KIND:LAYER."
        )
    return Dictionary(digest, name, model, first, latents, sae.cfg.d_in, sae, reads or (first,), writes)


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
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        sae.fold_W_dec_norm()  # the same function; afterwards a latent's direction is its row of W_dec
    sae.eval().requires_grad_(False)
    return sae


def open_saelens(folder: Path) -> Any:
    """sae-lens' inference object from a folder in its layout, in fp32 on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sae-lens' own dependencies deprecate things while importing
        from sae_lens import SAE

    class_of(read_json(folder / "cfg.json").get("architecture", "standard"))
    return SAE.load_from_disk(folder, device="cpu", dtype="float32")


def class_of(architecture: str) -> tuple[type[Any], type[Any]]:
    """The inference class of `architecture` and its config's: sae-lens' own, or a file of training/inference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        import sae_lens  # noqa: F401  its classes enter the registry
        from sae_lens.registry import SAE_CLASS_REGISTRY, register_sae_class

    if architecture not in SAE_CLASS_REGISTRY:
        ours = parts.names("training.inference")
        if architecture not in ours:
            raise unknown("architecture of a finished dictionary", architecture, {*SAE_CLASS_REGISTRY, *ours})
        part = parts.load("training.inference", architecture)
        register_sae_class(architecture, part.CLASS, part.CONFIG)
    return SAE_CLASS_REGISTRY[architecture]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises `Mistake` when it cannot be read or is something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Mistake(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise Mistake(f"{str(path)!r} is not JSON: it is truncated or another kind of file.") from error
    if not isinstance(found, dict):
        raise Mistake(f"{str(path)!r} holds a JSON {type(found).__name__} where a dictionary's config is an object.")
    return found


def places(cfg: Mapping[str, Any]) -> tuple[tuple[Site, ...], tuple[Site, ...]]:
    """The sites that a dictionary with this `cfg.json` reads and writes; empty where it does not say.

    Lists `reads` and `writes` of sites in the metadata win over SAELens' `hook_name` and `hook_name_out`.
    """
    metadata = cfg.get("metadata") or cfg
    reads = tuple(Site.parse(site) for site in metadata.get("reads") or ())
    reads = reads or tuple(filter(None, [site_of(metadata.get("hook_name"))]))
    writes = tuple(Site.parse(site) for site in metadata.get("writes") or ())
    if not writes and "d_out" in cfg:
        writes = tuple(filter(None, [site_of(metadata.get("hook_name_out"))]))
        return reads, writes
    return reads, writes or reads


def site_of(hook: str | None) -> Site | None:
    """The site that transformer-lens calls `hook`, or None when there is none of that name."""
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", hook or "")
    sites = [Site(int(found[1]), kind) for kind in SITE_KINDS] if found else []
    return next((site for site in sites if site.hook == hook), None)


def dictionaries_of(workspace: Workspace, model_digest: str, sites: Sequence[Site] | None = None) -> dict[Site, str]:
    """The newest autoencoder of a finished run at each site of the model (or each of `sites`), in order of depth.

    Of several that one run made at a site it is the first in the run's own order (`metrics.place`). Transcoders,
    crosscoders and what normalises each activation anew are passed over: they cannot be spliced in at one site.
    """
    with workspace.read() as db:
        rows = db.execute(
            "select site, dictionary from dictionaries join runs using (run) "
            "where model = ? and status = 'done' "
            "order by started, coalesce(try_cast(metrics->>'place' as integer), 0) desc, dictionary desc",
            [model_digest],
        ).fetchall()
    found = {Site.parse(site): dictionary for site, dictionary in rows if _spliceable(workspace, dictionary)}
    if missing := [str(site) for site in sites or () if site not in found]:
        raise Mistake(
            f"No dictionary is trained at {', '.join(missing)} for this model. "
            f"Run `lacewing train --sites {','.join(missing)}` first."
        )
    return {site: found[site] for site in sorted(found) if sites is None or site in sites}


def _spliceable(workspace: Workspace, digest: str) -> bool:
    """Whether a dictionary is an autoencoder of one site; one whose files are gone counts, to be missed when loaded."""
    path = folder_of(workspace, digest) / "cfg.json"
    if not path.is_file():
        return True
    cfg = read_json(path)
    reads, writes = places(cfg)
    return reads == writes and len(reads) < 2 and cfg.get("normalize_activations", "none") == "none"


__all__ = [
    "Dictionary",
    "class_of",
    "dictionaries_of",
    "folder_of",
    "load_dictionary",
    "open_saelens",
    "places",
    "read_json",
    "save",
    "site_of",
]
