"""The published sparse-feature-circuits code itself on a task, in an environment of its own.

Its repository is no package: FEATURE_CIRCUITS names a clone of github.com/saprmarks/feature-circuits at 1d87366. Its
`get_circuit` runs as it is; the dictionaries are its library's own class with given weights. One JSON line tells the
seconds of nodes alone and of nodes with edges; what was found goes to a safetensors file.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.environ["FEATURE_CIRCUITS"])


def main() -> None:
    folder, kept, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with contextlib.redirect_stdout(sys.stderr):
        told = measured(folder, kept, rounds)
    print(json.dumps(told))


def measured(folder: Path, kept: int, rounds: int) -> dict[str, Any]:
    """Seconds of each round; then each pair alone, whose edges are compared, since means hide which pair kept what."""
    from circuit import get_circuit  # pyright: ignore[reportMissingImports]

    given = opened(folder, slice(None))
    threshold = threshold_for(given, kept)
    wanted = {"node_threshold": threshold, "aggregation": "none", "parallel_attn": True}
    found: dict[str, Any] = {"nodes": [], "edges": []}
    nodes: dict[str, Any] = {}
    for _ in range(rounds):
        began = time.perf_counter()
        nodes, _ = get_circuit(**given.arguments, **wanted, nodes_only=True)
        found["nodes"].append(time.perf_counter() - began)
        began = time.perf_counter()
        get_circuit(**given.arguments, **wanted)
        found["edges"].append(time.perf_counter() - began)
    saved = {name: one.to_tensor().contiguous() for name, one in nodes.items() if name != "y"}
    for pair in range(len(given.arguments["clean"])):
        _, edges = get_circuit(**opened(folder, slice(pair, pair + 1)).arguments, **wanted)
        saved |= {f"{pair}/{name}": values for name, values in joined(edges).items()}
    save_file(saved, folder / "theirs.safetensors")
    return found


def joined(edges: dict[str, dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Mean effects of the edges between submodules: where the downstream end is, and what each upstream entry gives."""
    found = {}
    for up, below in edges.items():
        for down, values in below.items():
            if down != "y" and values._nnz():
                values = values.coalesce()
                found |= {f"{up}>{down}/at": values.indices().contiguous(), f"{up}>{down}/of": values.values()}
    return found


def opened(folder: Path, rows: slice) -> SimpleNamespace:
    """The model in its tracing library, its submodules, and what `get_circuit` is called with for these pairs."""
    from dictionary_learning import AutoEncoder  # pyright: ignore[reportMissingImports]
    from loading_utils import Submodule  # pyright: ignore[reportMissingImports]
    from nnsight import LanguageModel  # pyright: ignore[reportMissingImports]
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "model" / "tokenizer.json"), pad_token="<pad>")
    model = LanguageModel(
        str(folder / "model"), tokenizer=tokenizer, device_map="cpu", dispatch=True, attn_implementation="eager"
    )
    weights = load_file(folder / "task.safetensors")
    body = model.gpt_neox
    embed = Submodule("embed", body.embed_in)
    layers = range(len(model._model.gpt_neox.layers))
    attns = [Submodule(f"attn_{i}", body.layers[i].attention, is_tuple=True) for i in layers]
    mlps = [Submodule(f"mlp_{i}", body.layers[i].mlp) for i in layers]
    resids = [Submodule(f"resid_{i}", body.layers[i], is_tuple=True) for i in layers]
    dictionaries = {one: dictionary(AutoEncoder, weights, one.name) for one in (embed, *attns, *mlps, *resids)}
    answers = weights["answers"][:, rows]

    def difference(model: Any) -> Any:
        logits = model.output.logits[:, -1, :]
        return (torch.gather(logits, -1, answers[1][:, None]) - torch.gather(logits, -1, answers[0][:, None])).squeeze(
            -1
        )

    arguments = {
        "clean": weights["clean"][rows], "patch": weights["patch"][rows], "model": model, "embed": embed, "attns": attns,
        "mlps": mlps, "resids": resids, "dictionaries": dictionaries, "metric_fn": difference,
    }  # fmt: skip
    return SimpleNamespace(arguments=arguments, submodules=[embed, *attns, *mlps, *resids], difference=difference)


def dictionary(kind: Any, weights: dict[str, torch.Tensor], name: str) -> Any:
    """Its library's ReLU autoencoder with the weights of submodule `name`."""
    rows, bias, shift = (weights[f"{name}/{part}"] for part in ("W_dec", "b_dec", "shift"))
    made = kind(rows.shape[1], rows.shape[0])
    made.encoder.weight.data, made.encoder.bias.data = rows.clone(), -shift.expand(len(rows)).clone()
    made.decoder.weight.data, made.bias.data = rows.T.contiguous(), bias.clone()
    return made


def threshold_for(given: SimpleNamespace, kept: int) -> float:
    """The threshold at which `kept` entries (example, position, latent or error) are kept in all."""
    from attribution import patching_effect  # pyright: ignore[reportMissingImports]

    told = {name: given.arguments[name] for name in ("clean", "patch", "model", "dictionaries")}
    effects = patching_effect(submodules=given.submodules, metric_fn=given.difference, method="ig", **told).effects
    flat = torch.cat([one.to_tensor().abs().flatten() for one in effects.values()])
    return float(flat.topk(kept + 1).values[-1])


if __name__ == "__main__":
    main()
