"""The work that whole training runs are compared on: one text, one site, one set of held-out tokens for all sides.

1. `Ground.make` opens the subject, cuts the text's train split into blocks for the peers, and reads held-out
   activations in fp32. Blocks that begin with a massive token (`training.stream`) are not given to peers, who would
   train on it.
2. `Ground.run` runs one side in a process of its own (`sides/`), each in its own environment; memory is that process'.
3. `quality` judges every side's saved dictionary by the same code: explained variance on the held-out tokens when
   exactly k latents per token are kept on average (sae-lens' exported threshold is a running average that short runs
   leave too low), and L0 as exported.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.harness import Setting
from bench.sides.report import Task
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

from data.config import DEFAULT_MODEL
from data.models import Subject
from data.texts import Blocks, Text
from data.words import Site
from training.formats import sparsify
from training.stream import PASS, Scales, heldout_blocks, measure, ordinary, read

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
HELD = 8192
RATES = {"lacewing": 2e-3, "saelens": 4e-3, "sparsify": 0.0}
"""Each side's learning rate: our default; the best of 1e-3, 2e-3, 4e-3 and 8e-3 for sae-lens (explained variance .61,
.72, .73, .67 after 60k tokens); sparsify chooses its own."""


@dataclass(frozen=True)
class Run:
    """What a side told of one training run."""

    k: list[int]
    tokens: int
    seconds: float
    marks: list[list[float]]
    """Tokens trained and seconds, step by step."""
    before: int
    """Bytes resident when the run began, the model loaded."""
    peak: int
    """Bytes resident at most."""
    folders: list[str]
    """The dictionary of each k."""
    announced: int = 0
    """Bytes resident at most, as `lacewing train --dry-run` says."""

    @property
    def rate(self) -> float:
        """Tokens per second of the whole run, from the first read to the last step."""
        return self.tokens / self.seconds

    @property
    def steady(self) -> float:
        """Tokens per second while the buffer is kept full: what a long run has.

        Steps come in bursts between reads: counted is from the first step to the last that followed a read. All of the
        run where there are no bursts.
        """
        gaps = [b[1] - a[1] for a, b in zip(self.marks, self.marks[1:], strict=False)]
        usual = 3 * statistics.median(gaps)
        last = max((i + 1 for i, gap in enumerate(gaps) if gap > usual), default=len(gaps))
        (tokens, began), (done, ended) = self.marks[0], self.marks[last]
        return (done - tokens) / (ended - began)


@dataclass(frozen=True)
class Quality:
    """Explained variance with exactly k active per token, and L0 as exported."""

    explained_variance: float
    l0: float


@dataclass(frozen=True)
class Ground:
    """What all sides work on; `task` has its files."""

    folder: Path
    task: Task
    subject: Subject
    scales: Scales
    held: Float[Tensor, "tokens d_model"]

    @classmethod
    @contextlib.contextmanager
    def make(cls, setting: Setting) -> Iterator[Ground]:
        """A ground in a folder that goes when done."""
        with tempfile.TemporaryDirectory(prefix="lacewing-bench-") as name:
            yield cls._make(Path(name), setting)

    @classmethod
    def _make(cls, folder: Path, setting: Setting) -> Ground:
        name, text = _tiny(folder) if setting.quick else (DEFAULT_MODEL, None)
        subject, site = Subject.open(name), Site(setting.of(15, 1))
        context = setting.of(128, 32)
        train = Text(text, subject.tokenizer, context, subject.prefix).blocks("train")
        train = train[np.random.default_rng(0).permutation(len(train))]
        scales = measure(read(subject, train[:64], [site]))
        np.save(folder / "blocks.npy", train.tokens[_harmless(subject, train, site, scales.limit)])
        task = Task(
            model=str(subject.folder), layer=site.layer, text=text, blocks=str(folder / "blocks.npy"),
            special=sorted({0, *subject.prefix, *train.special}), context=context, width=subject.d_model,
            latents=setting.of(2304, 64), k=[setting.of(32, 4)], tokens=setting.of(60_000, 2560),
            batch=setting.of(256, 128), buffer=setting.of(16_384, 512), rate=0.0, out="", device=setting.device,
        )  # fmt: skip
        held = heldout_blocks(subject, text, context=context)
        held = held[np.random.default_rng(0).permutation(len(held))].first(HELD)
        return cls(folder, task, subject, scales, cls._read(subject, held, site, scales.limit))

    @staticmethod
    def _read(subject: Subject, blocks: Blocks, site: Site, limit: Tensor) -> Tensor:
        parts = [read(subject, blocks[slice(start, start + PASS)], [site]) for start in range(0, len(blocks), PASS)]
        rows = torch.cat(parts)
        return rows[ordinary(rows, limit)][:, 0].float()

    @cached_property
    def site(self) -> Site:
        return Site(self.task.layer)

    def run(self, side: str, **changes: Any) -> list[Run]:
        """Runs `side` (lacewing, saelens or sparsify) on the task with `changes`, in a process of its own."""
        out = tempfile.mkdtemp(prefix=side, dir=self.folder)
        task = replace(self.task, **({"rate": RATES[side], "out": out} | changes))
        command = [str(interpreter(side)), str(FOLDER / "sides" / f"with_{side}.py"), json.dumps(asdict(task))]
        offline = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "TOKENIZERS_PARALLELISM": "false"}
        ours = {"PYTHONPATH": str(ROOT)} if side == "lacewing" else {}
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | offline | ours, check=False)
        if done.returncode:
            raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
        return [Run(**run) for run in json.loads(done.stdout.splitlines()[-1])]

    def floor(self, tokens: int) -> float:
        """Tokens per second of the forward pass alone: bf16, stopped after the site, nothing kept."""
        subject = Subject.open(str(self.subject.folder), dtype=torch.bfloat16, device=self.task.device)
        blocks = torch.from_numpy(np.load(self.task.blocks))
        real, began = 0, time.perf_counter()
        with torch.no_grad():
            for part in blocks.split(PASS):
                subject.read(part, [self.site])
                real += int(np.isin(part.numpy(), self.task.special, invert=True).sum())
                if real >= tokens:
                    break
        return real / (time.perf_counter() - began)

    @torch.no_grad()
    def quality(self, side: str, folder: str, k: int) -> Quality:
        """How good the dictionary in `folder` is."""
        if side == "sparsify":  # sae-lens' reader of this format does not work; ours reads it by the paper's formula
            back, exported = sparsify.load(Path(folder)).formula(self.held).value.float(), float(k)
        else:
            sae: Any = SAE.load_from_disk(folder)
            exported = float((sae.encode(self.held) > 0).sum() / len(self.held))
            if hasattr(sae, "threshold"):
                sae.threshold.data.zero_()
            back = sae.decode(largest(sae.encode(self.held), k * len(self.held)))
        spread = (self.held - self.held.mean(dim=0)).square().sum()
        return Quality(float(1 - (self.held - back).square().sum() / spread), exported)

    def qualities(self, side: str, run: Run) -> list[Quality]:
        return [self.quality(side, folder, k) for folder, k in zip(run.folders, run.k, strict=True)]


def largest(latents: Float[Tensor, "tokens d_sae"], count: int) -> Float[Tensor, "tokens d_sae"]:
    """The `count` largest of all, 0 elsewhere; as they are when no more than that are active."""
    if int((latents > 0).sum()) <= count:
        return latents
    bound = latents.flatten().kthvalue(latents.numel() - count + 1).values
    return torch.where(latents >= bound, latents, 0)


def interpreter(side: str) -> Path:
    """The Python of a side's environment; sae-lens is in our own."""
    if side in ("lacewing", "saelens"):
        return Path(sys.executable)
    found = FOLDER / ".venvs" / side / "bin" / "python"
    if not found.is_file():
        raise SystemExit(f"{side} is not installed in {found.parent.parent}; `make bench` does that.")
    return found


def median(runs: Sequence[Run], name: str) -> float:
    return statistics.median(getattr(run, name) for run in runs)


def _harmless(subject: Subject, blocks: Blocks, site: Site, limit: Tensor) -> np.ndarray:
    """Which blocks do not begin with a massive token; nothing behind it matters to that, attention being causal."""
    first = torch.from_numpy(blocks.tokens[:, : blocks.prefix + 1])
    with torch.no_grad():
        norms = [subject.read(part, [site])[site][:, -1].float().norm(dim=-1) for part in first.split(256)]
    return (torch.cat(norms) <= limit).numpy()


def _tiny(folder: Path) -> tuple[str, str]:
    """The tests' tiny model, hardly trained, and sentences for it: for quick runs."""
    import itertools
    import random

    import tiny

    from data.tasks.agreement import templates

    drawn = itertools.islice(templates(lambda _: [0], random.Random(1)), 2000)
    sentences = ["".join(one.pieces) + one.answer + " here." for one in drawn]
    rows = ["\n".join(sentences[start : start + 4]) for start in range(0, len(sentences), 4)]
    text = folder / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": row}) for row in rows))
    return str(tiny.save(folder / "model", steps=20)), str(text)
