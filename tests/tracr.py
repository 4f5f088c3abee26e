"""Transformers compiled from programs by Tracr (arXiv 2301.05062), whose circuits are known exactly.

`TracrModel` runs the weights of tests/fixtures/*.npz (no layer norm, no causal mask) and takes the place of a subject
model. Its residual stream is rotated by a random orthogonal matrix, folded into the weights, so that no coordinate
means anything by itself; `basis` is the perfect dictionary, one latent per labelled residual direction, or one with
latents left out, whose directions then stand in the error.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.models import Edit
from data.words import Site
from training.dictionary import Dictionary

FIXTURES = Path(__file__).parent / "fixtures"


class _Stop(Exception):
    pass


class TracrModel:
    """A compiled program as a `data.models.Model`."""

    def __init__(self, program: str, seed: int = 0) -> None:
        record = json.loads((FIXTURES / f"{program}.json").read_text())
        weights = np.load(FIXTURES / f"{program}.npz")
        self.record: dict[str, Any] = record
        self.labels: list[str] = record["residual_labels"]
        self.name = self.digest = program
        self.layers = record["layers"]
        self.d_model = len(self.labels)
        self.prefix: tuple[int, ...] = ()
        self.heads, self.key = record["heads"], record["key_size"]
        self.rotation = torch.linalg.qr(torch.randn(self.d_model, self.d_model, generator=_seeded(seed))).Q
        self.w = {name: self._rotated(name, torch.tensor(weights[name])) for name in weights.files}

    def _rotated(self, name: str, weight: Tensor) -> Tensor:
        """Weights that write to the stream are turned by the rotation, those that read from it by its inverse."""
        if name.endswith(("embeddings", "attn/linear/w", "attn/linear/b", "linear_2/w", "linear_2/b")):
            return weight @ self.rotation
        return self.rotation.T @ weight if name.endswith("/w") else weight

    def width(self, site: Site) -> int:
        return self.d_model

    def run(
        self,
        tokens: Tensor,
        *,
        edits: Mapping[Site, Edit] | None = None,
        start: tuple[Site, Tensor] | None = None,
        stop: Site | None = None,
        keep: Tensor | None = None,
    ) -> Tensor | None:
        with contextlib.suppress(_Stop):
            x = self.w["token_embed/embeddings"][tokens] + self.w["pos_embed/embeddings"][: tokens.shape[1]]
            for layer in range(self.layers):
                x = self._at(Site(layer, "resid_pre"), x, edits, start, stop)
                x = x + self._at(Site(layer, "attn_out"), self._attention(layer, x), edits, start, stop)
                x = x + self._at(Site(layer, "mlp_out"), self._mlp(layer, x), edits, start, stop)
                x = self._at(Site(layer), x, edits, start, stop)
            return self._read_out(x if keep is None else x[:, keep])
        return None

    @staticmethod
    def _at(
        site: Site, x: Tensor, edits: Mapping[Site, Edit] | None, start: tuple[Site, Tensor] | None, stop: Site | None
    ) -> Tensor:
        if start and start[0] == site:
            x = start[1]
        if edits and site in edits:
            new = edits[site](x)
            x = x if new is None else new
        if stop == site:
            raise _Stop
        return x

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.w[f"{name}/w"] + self.w[f"{name}/b"]

    def _attention(self, layer: int, x: Tensor) -> Tensor:
        at = f"transformer/layer_{layer}/attn"
        q, k, v = (self._linear(f"{at}/{part}", x) for part in ("query", "key", "value"))
        pattern = torch.softmax(q @ k.transpose(-1, -2) / self.key**0.5, dim=-1)
        return self._linear(f"{at}/linear", pattern @ v)

    def _mlp(self, layer: int, x: Tensor) -> Tensor:
        at = f"transformer/layer_{layer}/mlp"
        return self._linear(f"{at}/linear_2", torch.relu(self._linear(f"{at}/linear_1", x)))

    def _read_out(self, x: Tensor) -> Tensor:
        """Logits: the residual directions of the program's output, one per output symbol."""
        columns = [i for i, label in enumerate(self.labels) if label.startswith(self.output)]
        return (x @ self.rotation.T)[..., columns]

    @property
    def output(self) -> str:
        return {"hist": "hist_7:", "reverse": "aggregate_1:"}[self.name]

    def symbols(self) -> list[str]:
        """What each logit stands for."""
        return [label.removeprefix(self.output) for label in self.labels if label.startswith(self.output)]

    def encode(self, symbols: Sequence[Any]) -> list[int]:
        return [self.record["input_encoding"][str(s)] for s in symbols]

    def basis(self, site: Site, leave_out: Sequence[str] = ()) -> Dictionary:
        """The perfect dictionary at `site`; latents of the labels to leave out never fire."""
        kept = torch.tensor([float(label not in leave_out) for label in self.labels])
        sae = Basis(self.rotation.T * kept, self.rotation * kept[:, None], torch.zeros(self.d_model))
        return Dictionary(f"{self.name}-{site}", "basis", self.digest, site, self.d_model, self.d_model, sae)


@dataclass(frozen=True)
class Basis:
    """A linear dictionary in sae-lens' shape."""

    W_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor

    def encode(self, x: Tensor) -> Tensor:
        # What fp32 leaves of an exact zero is made a zero again: a latent of a compiled program is on or off.
        f = x @ self.W_enc
        return torch.where(f.abs() < 1e-4, 0.0, f)

    def decode(self, f: Tensor) -> Tensor:
        return f @ self.W_dec


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
