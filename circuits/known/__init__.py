"""Transformers whose circuits are known exactly: programs compiled by Tracr (arXiv 2301.05062). One file each.

1. `TracrModel` runs the weights beside this file (no layer norm, no causal mask) and takes the place of a subject model.
2. Its residual stream is rotated by a random orthogonal matrix, folded into the weights, so that no coordinate means
   anything by itself.
3. `basis` is the perfect dictionary, one latent per labelled residual direction; with labels left out their directions
   stand in the error.
4. A part has `SITES`, `LEAVE_OUT` (labels whose loss the error must make good), `pairs(model)`, `nodes()` and `edges()`:
   the circuit that the program is, for these pairs, as (site, label, token position).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from circuits.problem import Problem
from data import parts
from data.models import Edit
from data.words import Node, Site
from training.dictionary import Dictionary

FOLDER = Path(__file__).parent
ROUNDING = 1e-4
"""What fp32 leaves of an exact zero is made a zero again below this: a compiled latent is 0 or of order 1."""

Known = tuple[Site, str, int]
"""A node by name: its site, the label of its residual direction or `error`, its token position."""


class _Stop(Exception):
    pass


class TracrModel:
    """A compiled program as a `data.models.Model`; the weights of `program` are rotated by `seed`."""

    def __init__(self, program: str, seed: int = 0) -> None:
        from safetensors.torch import load_file

        record = json.loads((FOLDER / f"{program}.json").read_text())
        weights = load_file(FOLDER / f"{program}.safetensors")
        self.record: dict[str, Any] = record
        self.labels: list[str] = record["residual_labels"]
        self.name = self.digest = program
        self.layers = record["layers"]
        self.d_model = len(self.labels)
        self.prefix: tuple[int, ...] = ()
        self.heads, self.key = record["heads"], record["key_size"]
        generator = torch.Generator().manual_seed(seed)
        self.rotation = torch.linalg.qr(torch.randn(self.d_model, self.d_model, generator=generator)).Q
        self.w = {name: self._rotated(name, weight) for name, weight in weights.items()}

    def _rotated(self, name: str, weight: Tensor) -> Tensor:
        """Weights that write to the stream are turned by the rotation, those that read from it by its inverse."""
        if name.endswith(("embeddings", "attn/linear/w", "attn/linear/b", "linear_2/w", "linear_2/b")):
            return weight @ self.rotation
        return self.rotation.T @ weight if name.endswith("/w") else weight

    def width(self, site: Site) -> int:  # noqa: ARG002
        """Every site is as wide as the stream."""
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
        """As `data.models.Subject.run`."""
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
        """How the labels of the directions begin that are read out."""
        return parts.load("circuits.known", self.name).OUTPUT

    def symbols(self) -> list[str]:
        """What each logit stands for."""
        return [label.removeprefix(self.output) for label in self.labels if label.startswith(self.output)]

    def encode(self, symbols: Sequence[Any]) -> list[int]:
        """The token ids of input symbols."""
        return [self.record["input_encoding"][str(s)] for s in symbols]

    def basis(self, site: Site, leave_out: Collection[str] = ()) -> Dictionary:
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
        """Coordinates [... d_sae] of `x` [... d_model], exact zeros where fp32 leaves a trace."""
        f = x @ self.W_enc
        return torch.where(f.abs() < ROUNDING, 0.0, f)

    def decode(self, f: Tensor) -> Tensor:
        """The value [... d_model] with coordinates `f`."""
        return f @ self.W_dec


def known_problem(program: str, seed: int = 0, leave_out: Collection[str] = ()) -> tuple[TracrModel, Problem]:
    """The program and its problem, with the perfect dictionary at its sites but for the labels to leave out.

    Raises `Mistake` when there is no such program.
    """
    part = parts.load("circuits.known", program)
    model = TracrModel(program, seed)
    dictionaries = {site: model.basis(site, leave_out) for site in part.SITES}
    return model, Problem.of(model, dictionaries, part.pairs(model), batch=16)


def known_nodes(program: str, leave_out: Collection[str] = ()) -> set[Known]:
    """The true nodes; where a label is left out, its node is the error at its site and position."""
    return {lost(node, leave_out) for node in parts.load("circuits.known", program).nodes()}


def known_edges(program: str, leave_out: Collection[str] = ()) -> set[tuple[Known, Known]]:
    """The true edges, likewise."""
    return {(lost(u, leave_out), lost(d, leave_out)) for u, d in parts.load("circuits.known", program).edges()}


def lost(node: Known, leave_out: Collection[str]) -> Known:
    """The node that carries `node` when labels are left out of the dictionary."""
    site, label, position = node
    return (site, "error", position) if label in leave_out else node


def named(model: TracrModel, node: Node) -> Known:
    """A node found, by the label of its direction."""
    assert node.site is not None
    return node.site, "error" if node.latent is None else model.labels[node.latent], node.position
