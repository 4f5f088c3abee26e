"""Our nodes and edges beside the published sparse-feature-circuits code itself, run in an environment of its own.

1. The problem's prompts, answers and dictionaries go to a file; `sides/with_feature_circuits.py` works on them.
2. Rounds of both alternate by whole processes of the other; seconds are each side's own, without loading.
3. Effects must agree, r >= .9999. With the newest tracing library that it admits, the published code's path never leaves
   the clean prompt, and none of its edges begins at an error (both seen here, not in its description). Compared are
   therefore our effects with gradients at the clean prompt, and edges from latents; timed is what each really does.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import torch
from bench.harness import Spread, Table, _timed
from bench.work import FOLDER, interpreter
from safetensors.torch import load_file, save_file
from torch import Tensor

from circuits import edges
from circuits.effects import Effects, from_gradients
from circuits.methods import attribution_patching
from circuits.methods.integrated_gradients import gradients
from circuits.problem import Problem
from data.words import Node, Site

SOURCE = "FEATURE_CIRCUITS"
STEPS = 10
Where = tuple[str, int, int]
"""A submodule, a position, and a latent or -1 for the error, which both sides put last."""
NAMES = {"attn_out": "attn", "mlp_out": "mlp", "resid_post": "resid"}


def table(problem: Problem, folder: Path, kept: int, rounds: int) -> Table:
    """Seconds of both sides, and how alike their effects are."""
    _write(problem, folder)
    _ = problem.states
    ours: dict[str, list[float]] = {"nodes": [], "edges": []}
    theirs: dict[str, list[float]] = {"nodes": [], "edges": []}
    for _ in range(rounds):
        ours["nodes"].append(_timed(lambda: _found(problem, 0)))
        ours["edges"].append(_timed(lambda: _found(problem, kept)))
        told = _published(folder, kept)
        theirs = {name: theirs[name] + told[name] for name in theirs}
    likeness = _likeness(problem, folder, kept)
    made = Table("Feature circuits: the published code", ("", "ours, s", "published code, s", "ratio"))
    for name, title in (("nodes", "nodes"), ("edges", "nodes and edges")):
        ratio = Spread.ratio(theirs[name], ours[name])
        made.rows.append((title, Spread.of(ours[name]), Spread.of(theirs[name]), ratio))
    made.notes.append(
        f"Pythia-70M's shape, random weights; {len(problem)} pairs x {problem.clean.shape[1]} tokens, "
        f"{len(problem.sites)} sites, {STEPS} steps, {kept} kept. Pearson of effects with gradients at the clean prompt: "
        f"nodes {likeness['nodes']:.6f}, edges from latents {likeness['edges']:.6f}."
    )
    return made


def _found(problem: Problem, kept: int) -> tuple[Effects, edges.Edges | None]:
    along = gradients(problem, STEPS, lambda *_: None)
    effects = from_gradients(problem, along)
    nodes = [effects.nodes[i] for i in effects.ranking()[:kept].tolist()]
    return effects, edges.edge_effects(problem, nodes, along) if kept else None


def _name(site: Site) -> str:
    return "embed" if site.kind == "resid_pre" else f"{NAMES[site.kind]}_{site.layer}"


def _write(problem: Problem, folder: Path) -> None:
    answers = torch.stack([problem.answers, problem.counter_answers])
    found = {"clean": problem.clean, "patch": problem.aligned.patch, "answers": answers}
    for site in problem.sites:
        dictionary: Any = problem.mediators[site].basis
        found |= {
            f"{_name(site)}/W_dec": dictionary.W_dec, f"{_name(site)}/b_dec": dictionary.b_dec,
            f"{_name(site)}/shift": torch.tensor([dictionary.shift]),
        }  # fmt: skip
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, folder / "task.safetensors")


def _published(folder: Path, kept: int) -> dict[str, list[float]]:
    command = [str(interpreter("feature_circuits")), str(FOLDER / "sides" / "with_feature_circuits.py")]
    done = subprocess.run([*command, str(folder), str(kept), "1"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the published code failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _likeness(problem: Problem, folder: Path, kept: int) -> dict[str, float]:
    """Pearson correlations of both sides' effects; fails when they did not do the same work."""
    along = attribution_patching.gradients(problem, 1, lambda *_: None)
    effects = from_gradients(problem, along)
    nodes = [effects.nodes[i] for i in effects.ranking()[:kept].tolist()]
    joined = edges.edge_effects(problem, nodes, along)
    theirs = load_file(folder / "theirs.safetensors")
    means = torch.stack([theirs[name][position, latent] for name, position, latent in map(_where, effects.nodes)])
    ends = [(_where(nodes[u]), _where(nodes[d])) for u, d in zip(joined.source, joined.target, strict=True)]
    pairs = [
        torch.stack([ours, other])
        for pair, row in enumerate(joined.effect)
        for (up, down), ours in zip(ends, row, strict=True)
        if up[2] >= 0 and (other := _edge(theirs, pair, up, down)) is not None
    ]
    found = {"nodes": _pearson(effects.mean, means), "edges": _pearson(*torch.stack(pairs).T)}
    assert min(found.values()) >= 0.9999, (found, len(pairs))
    return found


def _where(node: Node) -> Where:
    assert node.site is not None
    return _name(node.site), node.position, -1 if node.latent is None else node.latent


def _edge(theirs: dict[str, Tensor], pair: int, up: Where, down: Where) -> Tensor | None:
    """What the published code found for one pair; None where it did not keep the downstream end."""
    name = f"{pair}/{up[0]}>{down[0]}"
    found = theirs.get(f"{name}/of")
    if found is None:
        return None
    position, latent = theirs[f"{name}/at"]
    rows = ((position == down[1]) & (latent == down[2] % found.shape[-1])).nonzero()
    return found[int(rows[0, 0])][up[1], up[2]] if len(rows) else None


def _pearson(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])
