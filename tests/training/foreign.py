"""Dictionaries as other tools write them, and their formulas by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from data.store import Workspace
from training.dictionary import class_of, load_dictionary
from training.exchange_config import ImportConfig
from training.importing import import_dictionary

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
