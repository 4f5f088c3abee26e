"""SAELens: `cfg.json` and `sae_weights.safetensors`, as sae-lens 3 and later save a finished dictionary.

1. Older configs are brought to the present form by sae-lens itself; what it would silently misread is refused.
2. The formula is written from the papers: ReLU (Bricken et al. 2023), gated (Rajamanoharan et al. 2024a, arXiv
   2404.16014, eq. 6-8), TopK (Gao et al. 2024, arXiv 2406.04093, eq. 2), JumpReLU (Rajamanoharan et al. 2024b, arXiv
   2407.14435, eq. 3), transcoders with and without skip connection (Paulo et al. 2025, arXiv 2501.18823).
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data.errors import Mistake
from training.dictionary import FILES, class_of, places, read_json
from training.formats._imported import (
    ROUNDING,
    Imported,
    Products,
    Reading,
    above,
    add_up,
    largest,
    products,
    shaped,
    tensors,
)

LOOKS_LIKE = "cfg.json and sae_weights.safetensors"
READABLE = (
    "standard", "gated", "topk", "jumprelu", "transcoder", "skip_transcoder", "jumprelu_transcoder",
    "jumprelu_skip_transcoder", "topk_skip_transcoder",
)  # fmt: skip
"""The architectures whose formula is written below."""
EPSILON = 1e-5
"""What sae-lens adds to a standard deviation before it divides by it."""


def recognises(folder: Path) -> bool:
    """Whether `folder` looks like this format."""
    return all((folder / name).is_file() for name in FILES)


def load(folder: Path) -> Imported:
    """The dictionary in `folder`; raises `Mistake` when it cannot be used."""
    cfg = _config(folder)
    names = ("W_enc", "W_dec", "b_dec", *_encoder_biases(cfg), *(["W_skip"] if "skip" in cfg["architecture"] else []))
    path = folder / FILES[1]
    found = tensors(path, names)
    shaped(found, {"W_enc": (cfg["d_in"], cfg["d_sae"]), "W_dec": (cfg["d_sae"], cfg.get("d_out", cfg["d_in"]))}, path)
    reads, writes = places(cfg)
    known = {f.name for f in fields(class_of(cfg["architecture"])[1])} - {"metadata", "dtype", "device"}
    kept = {name: value for name, value in cfg.items() if name in known}
    weights = {name: found[name] for name in names}
    metadata = dict(cfg.get("metadata") or {})
    return Imported(cfg["architecture"], kept, weights, formula(cfg, weights), reads, writes, metadata)


def save(folder: Path, target: Path) -> None:
    """Copies the files of the dictionary in `folder` to the new folder `target`."""
    target.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(folder / name, target / name)


def _config(folder: Path) -> dict[str, Any]:
    raw = read_json(folder / FILES[0])
    _refuse(folder, raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sae-lens' own dependencies deprecate things while importing
        from sae_lens.loading.pretrained_sae_loaders import handle_config_defaulting
    class_of(raw.get("architecture", "standard"))
    cfg = handle_config_defaulting(raw)
    transcoder = "transcoder" in cfg["architecture"]
    defaults = {"apply_b_dec_to_input": not transcoder, "normalize_activations": "none", "reshape_activations": "none"}
    cfg = defaults | cfg
    if cfg["architecture"] not in READABLE:
        raise Mistake(f"{str(folder)!r} is of architecture {cfg['architecture']!r}; read are {', '.join(READABLE)}.")
    if cfg["normalize_activations"] not in ("none", "layer_norm"):
        raise Mistake(
            f"{str(folder)!r} expects activations scaled by a factor that is not in its files "
            f"(normalize_activations = {cfg['normalize_activations']!r}). Import the release by its hub name, so that "
            f"sae-lens folds the factor in, or fold it before saving."
        )
    if cfg["reshape_activations"] != "none":
        raise Mistake(f"{str(folder)!r} was trained on attention heads' outputs (hook_z), which are not read here.")
    return cfg


def _refuse(folder: Path, raw: Mapping[str, Any]) -> None:
    """Raises `Mistake` on options of older configs that sae-lens drops, though they change what is computed."""
    activation = raw.get("activation_fn") or raw.get("activation_fn_str") or "relu"
    if activation not in ("relu", "topk"):
        raise Mistake(f"{str(folder)!r} uses the activation function {activation!r}; only relu and topk are read.")
    if raw.get("finetuning_scaling_factor"):
        raise Mistake(f"{str(folder)!r} has a fine-tuned scaling factor, which is not read; fold it into the decoder.")
    if raw.get("architecture") in ("batchtopk", "matryoshka_batchtopk"):
        raise Mistake(
            f"{str(folder)!r} is a training checkpoint ({raw['architecture']}). Save its inference form with sae-lens' "
            f"`save_inference_model`, then import that."
        )


def _encoder_biases(cfg: Mapping[str, Any]) -> tuple[str, ...]:
    if cfg["architecture"] == "gated":
        return ("b_gate", "b_mag", "r_mag")
    return ("b_enc", "threshold") if "jumprelu" in cfg["architecture"] else ("b_enc",)


def formula(cfg: Mapping[str, Any], w: Mapping[str, Tensor]) -> Callable[[Tensor], Reading]:
    """What a dictionary with this config and these weights computes."""

    def read(x: Float[Tensor, "tokens d_in"]) -> Reading:
        x = x.double()
        if cfg["normalize_activations"] == "layer_norm":
            return _denormalised(x, lambda normal: _reconstruct(cfg, w, normal))
        return _reconstruct(cfg, w, x)

    return read


def _denormalised(x: Float[Tensor, "tokens d_in"], read: Callable[[Tensor], Reading]) -> Reading:
    """Each activation is brought to mean 0 and standard deviation 1, and its reconstruction back."""
    mean, deviation = x.mean(dim=-1, keepdim=True), x.std(dim=-1, keepdim=True)
    found = read((x - mean) / (deviation + EPSILON))
    value = found.value * deviation + mean
    return Reading(value, found.bound * deviation[:, 0] + ROUNDING * value.norm(dim=-1))


def _reconstruct(cfg: Mapping[str, Any], w: Mapping[str, Tensor], x: Float[Tensor, "tokens d_in"]) -> Reading:
    base = w["b_dec"].double()[None]
    if "W_skip" in w:
        base = base + x @ w["W_skip"].double().T
    if cfg["apply_b_dec_to_input"]:
        x = x - w["b_dec"].double()
    reach, on, unsure = _active(cfg, w, x)
    return add_up(reach, on, unsure, w["W_dec"], base)


def _active(
    cfg: Mapping[str, Any], w: Mapping[str, Tensor], x: Float[Tensor, "tokens d_in"]
) -> tuple[Products, Any, Any]:
    """What each latent would be when on, which are on, and for which of them rounding may decide."""
    if cfg["architecture"] == "gated":
        reach = products(x, (w["W_enc"] * w["r_mag"].exp()).T, w["b_mag"])
        return reach, *above(products(x, w["W_enc"].T, w["b_gate"]), torch.zeros(1))
    reach = products(x, w["W_enc"].T, w["b_enc"])
    if "topk" in cfg["architecture"]:
        size = w["W_dec"].double().norm(dim=-1) if cfg.get("rescale_acts_by_decoder_norm") else 1.0
        return reach, *largest(Products(reach.value * size, reach.slack * size), cfg["k"])
    border = w["threshold"].double().clamp(min=0) if "jumprelu" in cfg["architecture"] else torch.zeros(1)
    return reach, *above(reach, border)
