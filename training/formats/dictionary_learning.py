"""dictionary_learning (Marks, Karvonen & Mueller 2024): `ae.pt`, a state dict, and `config.json`.

1. `config.json` names the class: AutoEncoder (ReLU, Bricken et al. 2023), AutoEncoderNew (ReLU; b_dec is not taken from
   the input; Conerly et al. 2024), GatedAutoEncoder (Rajamanoharan et al. 2024a, arXiv 2404.16014), AutoEncoderTopK (Gao
   et al. 2024, arXiv 2406.04093), BatchTopKSAE and MatryoshkaBatchTopKSAE (Bussmann et al. 2024, arXiv 2412.06410; used
   with one threshold), JumpReluAutoEncoder (Rajamanoharan et al. 2024b, arXiv 2407.14435; b_dec not taken from the input).
2. `ae.pt` is opened by torch's restricted reader: tensors in a plain mapping. Anything else in it is refused, unrun.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data.errors import Mistake, unknown
from data.words import Site
from training.dictionary import read_json
from training.formats._imported import Imported, Reading, above, add_up, having, largest, products, shaped

LOOKS_LIKE = "config.json and ae.pt"
WEIGHTS = "ae.pt"


@dataclass(frozen=True)
class Kind:
    """What a class of dictionary_learning becomes, and what its tensors are called there."""

    architecture: str
    encoder: str
    """The encoder's weights: `encoder.weight` [d_sae, d_in] or `W_enc` [d_in, d_sae]."""
    bias: str | None
    """The decoder's bias."""
    encoder_bias: str = "encoder.bias"
    centred: bool = True
    """Whether the decoder's bias is taken from the input."""


KINDS = {
    "AutoEncoder": Kind("standard", "encoder.weight", "bias"),
    "AutoEncoderNew": Kind("standard", "encoder.weight", "decoder.bias", centred=False),
    "GatedAutoEncoder": Kind("gated", "encoder.weight", "decoder_bias", encoder_bias="mag_bias"),
    "AutoEncoderTopK": Kind("topk", "encoder.weight", "b_dec"),
    "BatchTopKSAE": Kind("jumprelu", "encoder.weight", "b_dec"),
    "MatryoshkaBatchTopKSAE": Kind("jumprelu", "W_enc", "b_dec", encoder_bias="b_enc"),
    "JumpReluAutoEncoder": Kind("jumprelu", "W_enc", "b_dec", encoder_bias="b_enc", centred=False),
}


def recognises(folder: Path) -> bool:
    """Whether `folder` looks like this format."""
    return all((folder / name).is_file() for name in ("config.json", WEIGHTS))


def load(folder: Path) -> Imported:
    """The dictionary in `folder`; raises `Mistake` when it cannot be used."""
    trainer = read_json(folder / "config.json").get("trainer") or {}
    name = str(trainer.get("dict_class"))
    if name not in KINDS:
        raise unknown(f"class of dictionary (in {str(folder / 'config.json')!r}):", name, KINDS)
    kind = KINDS[name]
    raw = _state(folder / WEIGHTS)
    source = _named(kind, raw, folder / WEIGHTS)
    latents, width = source["encoder"].shape
    shaped(source, {"decoder": (latents, width), "b_enc": (latents,), "b_dec": (width,)}, folder / WEIGHTS)
    fields: dict[str, Any] = {"d_in": width, "d_sae": latents, "apply_b_dec_to_input": kind.centred}
    k = raw["k"].item() if "k" in raw else trainer.get("k")
    if kind.architecture == "topk":
        fields["k"] = int(_told(k, "k", folder))
    site = _site(trainer)
    known = {"model_name": trainer.get("lm_name"), "k": k, "trained_with": trainer.get("trainer_class")}
    return Imported(
        kind.architecture, fields, _weights(kind, source), _formula(kind, source, fields.get("k", 0)), site, site,
        {name: value for name, value in known.items() if value is not None},
    )  # fmt: skip


def _told(value: Any, name: str, folder: Path) -> Any:
    if value is None:
        raise Mistake(f"Neither {WEIGHTS} nor config.json in {str(folder)!r} says {name}.")
    return value


def _state(path: Path) -> dict[str, Tensor]:
    """The state dict in `path`; raises `Mistake` when it is broken, or holds anything but tensors by name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that torch did not write: what it cannot read it refuses
            found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise Mistake(
            f"{str(path)!r} holds more than tensors, and is not opened: a pickle can run any program. "
            f"Save its `state_dict()` alone and import that."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise Mistake(f"{str(path)!r} is not a whole file of torch's: it is truncated or was changed.") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise Mistake(f"{str(path)!r} holds a {type(found).__name__} where a state dict of tensors should be.")
    return found


def _named(kind: Kind, raw: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The source's tensors under one name each, encoder and decoder with a row per latent, in fp32."""
    turned = kind.encoder == "encoder.weight"
    decoder = "decoder.weight" if turned else "W_dec"
    extra = {"gated": ("gate_bias", "r_mag"), "jumprelu": ("threshold",)}.get(kind.architecture, ())
    having(raw, (kind.encoder, decoder, kind.encoder_bias, str(kind.bias), *extra), path)
    found = {"encoder": raw[kind.encoder] if turned else raw[kind.encoder].T,
             "decoder": raw[decoder].T if turned else raw[decoder],
             "b_enc": raw[kind.encoder_bias], "b_dec": raw[str(kind.bias)]}  # fmt: skip
    found |= {name: raw[name] for name in extra}
    return {name: tensor.detach().float() for name, tensor in found.items()}


def _weights(kind: Kind, source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The source's tensors under sae-lens' names."""
    made = {
        "W_enc": source["encoder"].T.contiguous(),
        "W_dec": source["decoder"].contiguous(),
        "b_dec": source["b_dec"],
    }
    if kind.architecture == "gated":
        return made | {"b_gate": source["gate_bias"], "b_mag": source["b_enc"], "r_mag": source["r_mag"]}
    if kind.architecture == "jumprelu":
        made["threshold"] = source["threshold"].expand(len(source["encoder"])).contiguous()
    return made | {"b_enc": source["b_enc"]}


def _formula(kind: Kind, w: Mapping[str, Tensor], k: int) -> Callable[[Tensor], Reading]:
    def read(x: Float[Tensor, "tokens d_in"]) -> Reading:
        x = x.double() - (w["b_dec"].double() if kind.centred else 0)
        zero = torch.zeros(1)
        if kind.architecture == "gated":
            reach = products(x, w["encoder"] * w["r_mag"].exp()[:, None], w["b_enc"])
            on, unsure = above(products(x, w["encoder"], w["gate_bias"]), zero)
        else:
            reach = products(x, w["encoder"], w["b_enc"])
            border = w["threshold"].double().clamp(min=0).reshape(-1) if kind.architecture == "jumprelu" else zero
            on, unsure = largest(reach, k) if kind.architecture == "topk" else above(reach, border)
        return add_up(reach, on, unsure, w["decoder"], w["b_dec"][None])

    return read


def _site(trainer: Mapping[str, Any]) -> tuple[Site, ...]:
    """The site named like `resid_post_layer_8`; the residual stream after the layer when only that is told."""
    layer, module = trainer.get("layer"), trainer.get("submodule_name")
    if not isinstance(layer, int):
        return ()
    found = re.match(r"(resid_pre|resid_mid|resid_post|mlp_out|attn_out)(?![a-z])", module or "resid_post")
    return (Site(layer, found[1]),) if found else ()
