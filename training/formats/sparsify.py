"""sparsify (EleutherAI): `sae.safetensors` and `cfg.json` in a folder named like the module, such as `layers.5.mlp`.

1. TopK autoencoder (Gao et al. 2024, arXiv 2406.04093, eq. 2): f = TopK(ReLU(W (x - b_dec) + b)), x' = f W_dec + b_dec.
2. A transcoder (`transcode`) encodes x itself, a module's input, and tells its output; `skip_connection` adds W_skip x
   (Paulo, Shabalin & Belrose 2025, arXiv 2501.18823, section 3).
3. `activation = groupmax`, one latent of each of k groups, is no choice of the k largest: sae-lens has no class for it.

sae-lens' own converter is not used: that of 6.54 fails on what sparsify 1.3 writes, for it transposes W_dec and takes
`num_latents = 0` (which means that `expansion_factor` counts) for a width.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from data.errors import Mistake
from data.words import Site
from training.dictionary import FILES, read_json
from training.formats._imported import Imported, Reading, add_up, largest, products, shaped, tensors

LOOKS_LIKE = "cfg.json and sae.safetensors"
WEIGHTS = "sae.safetensors"
MODULE = re.compile(r"(?:.*\.)?(?:layers|h|blocks)[._](\d+)(?:\.(.+))?")
"""A module of a Hugging Face model: a block, or a part of it."""
PARTS = {"mlp": "mlp", "self_attn": "attn", "attn": "attn", "attention": "attn"}


def recognises(folder: Path) -> bool:
    """Whether `folder` looks like this format."""
    return all((folder / name).is_file() for name in ("cfg.json", WEIGHTS))


def load(folder: Path) -> Imported:
    """The dictionary in `folder`; raises `Mistake` when it cannot be used."""
    cfg = read_json(folder / "cfg.json")
    if cfg.get("activation", "topk") != "topk":
        raise Mistake(
            f"{str(folder)!r} uses the activation {cfg['activation']!r}, which SAELens cannot represent: it keeps the "
            f"largest latent of each group, not the k largest. Only activation 'topk' is read."
        )
    if missing := [name for name in ("d_in", "k") if name not in cfg]:
        raise Mistake(f"{str(folder / 'cfg.json')!r} lacks {', '.join(missing)}; sparsify writes them.")
    latents = cfg.get("num_latents") or cfg["d_in"] * cfg.get("expansion_factor", 32)
    skip = bool(cfg.get("skip_connection"))
    names = ("encoder.weight", "encoder.bias", "W_dec", "b_dec", *(["W_skip"] if skip else []))
    found = tensors(folder / WEIGHTS, names)
    shape = (latents, cfg["d_in"])
    shaped(found, {"encoder.weight": shape, "W_dec": shape, "encoder.bias": shape[:1]}, folder / WEIGHTS)
    weights = {"W_enc": found["encoder.weight"].T.contiguous(), "b_enc": found["encoder.bias"], "W_dec": found["W_dec"],
               "b_dec": found["b_dec"]}  # fmt: skip
    fields: dict[str, Any] = {"d_in": cfg["d_in"], "d_sae": latents, "k": cfg["k"], "apply_b_dec_to_input": True}
    if cfg.get("transcode") or skip:
        weights["W_skip"] = found["W_skip"] if skip else torch.zeros(cfg["d_in"], cfg["d_in"])
        fields |= {"d_out": cfg["d_in"], "apply_b_dec_to_input": False}
        if not cfg.get("transcode"):  # sae-lens' transcoders take nothing from their input
            weights["b_enc"] = weights["b_enc"] - found["b_dec"] @ weights["W_enc"]
    reads, writes = _sites(folder.name, transcoder=bool(cfg.get("transcode")))
    model = _model(folder)
    return Imported(
        "topk_skip_transcoder" if "d_out" in fields else "topk", fields, weights, lambda x: _formula(cfg, found, x),
        reads, writes, {"k": cfg["k"]} | ({"model_name": model} if model else {}),
    )  # fmt: skip


def _formula(cfg: Mapping[str, Any], w: Mapping[str, Tensor], x: Float[Tensor, "tokens d_in"]) -> Reading:
    x = x.double()
    base = w["b_dec"].double()[None]
    if cfg.get("skip_connection"):
        base = base + x @ w["W_skip"].double().T
    pre = products(x if cfg.get("transcode") else x - w["b_dec"].double(), w["encoder.weight"], w["encoder.bias"])
    return add_up(pre, *largest(pre, cfg["k"]), w["W_dec"], base)


def _sites(name: str, *, transcoder: bool) -> tuple[tuple[Site, ...], tuple[Site, ...]]:
    """The sites of the module called `name`; empty where it is none that is known."""
    found = MODULE.fullmatch(name)
    part = PARTS.get(found[2]) if found and found[2] else "block" if found else None
    if not found or part is None:
        return (), ()
    layer = int(found[1])
    if transcoder:
        return ((Site(layer, "mlp_in"),), (Site(layer, "mlp_out"),)) if part == "mlp" else ((), ())
    site = (Site(layer, "resid_post" if part == "block" else f"{part}_out"),)
    return site, site


def _model(folder: Path) -> str | None:
    """The model's name, from the run's `config.json` beside the folder."""
    path = folder.parent / "config.json"
    name = read_json(path).get("model") if path.is_file() else None
    return name if isinstance(name, str) else None


def save(folder: Path, target: Path) -> None:
    """Writes the dictionary in `folder` (SAELens layout) to the new folder `target`; raises `Mistake` if it cannot."""
    cfg = read_json(folder / FILES[0])
    transcoder = "transcoder" in cfg["architecture"]
    if cfg["architecture"] not in ("topk", "topk_skip_transcoder") or cfg.get("normalize_activations") != "none":
        raise Mistake(
            f"A dictionary of architecture {cfg['architecture']!r} has no place in sparsify, whose latents are the k "
            f"largest of each token. Export it with --format saelens."
        )
    w = tensors(folder / FILES[1], ("W_enc", "b_enc", "W_dec", "b_dec"))
    if not transcoder and not cfg.get("apply_b_dec_to_input", True):
        w["b_enc"] = w["b_enc"] + w["b_dec"] @ w["W_enc"]  # sparsify takes b_dec from the input; this gives it back
    if cfg.get("rescale_acts_by_decoder_norm"):
        norm = w["W_dec"].norm(dim=-1)
        w |= {"W_enc": w["W_enc"] * norm, "b_enc": w["b_enc"] * norm, "W_dec": w["W_dec"] / norm[:, None]}
    target.mkdir(parents=True)
    content = {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"]}
    content |= {"W_skip": w["W_skip"]} if transcoder else {}
    save_file({name: tensor.contiguous() for name, tensor in content.items()}, target / WEIGHTS)
    (target / "cfg.json").write_text(json.dumps({
        "activation": "topk", "expansion_factor": max(1, cfg["d_sae"] // cfg["d_in"]), "normalize_decoder": not transcoder,
        "num_latents": cfg["d_sae"], "k": cfg["k"], "multi_topk": False, "skip_connection": transcoder,
        "transcode": transcoder, "d_in": cfg["d_in"],
    }))  # fmt: skip
