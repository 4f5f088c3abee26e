"""Delphi's detection and fuzzing on a task, in an environment of its own (requirements/delphi.txt).

Its `DetectionScorer` and `FuzzingScorer` are used as they are, with their defaults but for the passages in a request, where
its command's default is taken. The client is ours: it asks an address, and nothing else. What wants a GPU is not installed
and stands there empty: its package imports its client of vllm whether it is used or not.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from report import hushed, tell

UNUSED = ("vllm", "vllm.distributed", "vllm.distributed.parallel_state", "vllm.inputs")


def main() -> None:
    sys.modules |= {name: MagicMock() for name in UNUSED}
    task = json.loads(Path(sys.argv[1]).read_text())
    with hushed():
        rows = [row(task, feature, name) for feature in task["features"] for name in feature["labels"]]
    tell(rows)


def row(task: dict[str, Any], feature: dict[str, Any], name: str) -> dict[str, Any]:
    """Balanced accuracy of each scorer for one label, and how many passages have no verdict."""
    from delphi.scorers import DetectionScorer, FuzzingScorer

    found: dict[str, Any] = {"latent": feature["latent"], "label": name, "failed": 0}
    for scorer in (DetectionScorer, FuzzingScorer):
        made = scorer(client(task["address"]), n_examples_shown=task["shown"])
        told = asyncio.run(made(record(feature, feature["labels"][name]))).score
        found["failed"] += sum(one.prediction is None for one in told)
        rates = [
            sum(one.correct is True for one in told if one.activating == side)
            / sum(one.activating == side for one in told)
            for side in (True, False)
        ]
        found[scorer.name] = sum(rates) / 2
    return found


def client(address: str) -> Any:
    from delphi.clients.client import Client, Response

    class Asking(Client):
        async def generate(self, prompt: Any, **settings: Any) -> Response:
            body = json.dumps({"model": self.model, "messages": prompt}).encode()
            asked = urllib.request.Request(f"{address}/chat/completions", body, {"content-type": "application/json"})
            with urllib.request.urlopen(asked) as answer:
                return Response(json.load(answer)["choices"][0]["message"]["content"])

    return Asking("delphi")


def record(feature: dict[str, Any], label: str) -> Any:
    from delphi.latents import ActivatingExample, Latent, LatentRecord, NonActivatingExample

    def example(kind: Any, window: dict[str, Any]) -> Any:
        values = torch.tensor(window["values"])
        return kind(tokens=torch.arange(len(values)), activations=values, str_tokens=window["tokens"])

    return LatentRecord(
        Latent("planted", feature["latent"]),
        test=[example(ActivatingExample, window) for window in feature["active"]],
        not_active=[example(NonActivatingExample, window) for window in feature["silent"]],
        explanation=label,
    )


if __name__ == "__main__":
    main()
