"""Harvesting: ours beside delphi's latent cache, on the same model, dictionaries and tokens, all of it written to disk.

1. `Ground.make` writes documents of whole blocks, so that neither side computes padding, and random JumpReLU dictionaries
   whose thresholds let `ACTIVE` latents through on a token. The work does not depend on what latents mean.
2. Each side runs in a process of its own, in its own environment, in turn. The clock runs from the open model to the last
   byte; ours has then also sorted, made statistics and neighbours of every latent, and written the store.
3. `likeness` compares what both found, entry by entry. Tokens at which ours has nothing at all are left out, and counted:
   massive tokens, on which ours does not encode.
4. `windows` times the examples of one latent out of a million, from generated parts.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from bench.harness import Setting, Spread, Table, alternate, short
from bench.sides.caching import Caching
from bench.work import FOLDER, ROOT, _tiny, interpreter
from safetensors.numpy import load_file
from safetensors.torch import save_file

from autointerp.examples import TooFew, shown
from autointerp.reader import Reader
from autointerp.shards import Activations, Files
from data import runs
from data.config import DEFAULT_MODEL
from data.models import Subject
from data.sources import Passage
from data.store import Workspace, append
from data.texts import Blocks, blocks, documents, split_of
from data.words import Site
from training.dictionary import save

ACTIVE = 32
WHOLE = 4
"""Blocks in a document."""
ROUNDS = 2
LAYERS = ([5, 10, 15, 20, 25], [10])
"""Where dictionaries are, of 30 blocks: ours stops after the last of them."""
PAIRS = (("float32", "bfloat16"), ("float32", "float32"), ("bfloat16", "bfloat16"))
"""Delphi's precision and ours. The first is what each chooses: delphi without a GPU takes the files' own."""
LEAST_COMMON, LEAST_R = 0.99, 0.999
"""Of equal precision in fp32: sums in another order move latents within 1e-5 of their threshold, and delphi stores fp16,
which rounds to 5e-4 of a value."""


@dataclass(frozen=True)
class Run:
    """What a side told."""

    tokens: int
    seconds: float
    found: tuple[float, float]
    """Seconds until all activations were found: on the wall, and on a processor."""
    whole: tuple[float, float]
    """The same until all was on disk."""
    before: int
    peak: int
    marks: list[Any]
    harvest: str = ""

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    @property
    def grown(self) -> float:
        """Megabytes at most, beyond the open model and dictionaries."""
        return (self.peak - self.before) / 1e6


@dataclass(frozen=True)
class Ground:
    """What both sides work on."""

    folder: Path
    task: Caching
    subject: Subject

    @classmethod
    @contextlib.contextmanager
    def make(cls, setting: Setting, layers: list[int]) -> Iterator[Ground]:
        with tempfile.TemporaryDirectory(prefix="lacewing-bench-") as name:
            folder = Path(name)
            model, text = _tiny(folder) if setting.quick else (DEFAULT_MODEL, None)
            subject = Subject.open(model)
            task = Caching(
                model=str(subject.folder), dtype="float32", layers=layers, weights=str(folder), dictionaries=[],
                workspace=str(folder / "workspace"), text="", blocks="", tokens=0, context=setting.of(128, 32),
                batch=setting.of(32, 8), out="",
            )  # fmt: skip
            ground = cls(folder, task, subject)
            whole = ground.sized(setting.of(81_920, 5_000), text)
            ids = ground.dictionaries(whole.cut, setting.of(2304, 64), setting.of(ACTIVE, 4))
            yield cls(folder, replace(whole.task, dictionaries=ids), subject)

    @cached_property
    def cut(self) -> Blocks:
        """The text as our side cuts it."""
        prefix = self.subject.prefix
        return blocks(
            documents(self.task.text, "heldout"), self.subject.tokenizer, context=self.task.context, prefix=prefix
        )

    def sized(self, tokens: int, source: str | None) -> Ground:
        """The ground with a text of its own of about `tokens` tokens, in documents of whole blocks and whole passes."""
        room = (self.task.context - len(self.subject.prefix)) * WHOLE
        text = self.folder / f"text-{tokens}.jsonl"
        together = self.task.batch // WHOLE
        wanted = max(tokens // (room * together), 1) * together
        rows = [json.dumps({"text": row}) for row in self._rows(source, room, wanted)]
        text.write_text("\n".join(rows))
        made = Ground(
            self.folder, replace(self.task, text=str(text), blocks=str(text.with_suffix(".npy"))), self.subject
        )
        np.save(made.task.blocks, made.cut.tokens)
        return replace(made, task=replace(made.task, tokens=int(made.cut.real.sum())))

    def _rows(self, source: str | None, room: int, wanted: int) -> Iterator[str]:
        """Texts that fill their last block nearly and never more, all held out; the source again when it has no more."""
        ids = itertools.chain.from_iterable(
            self.subject.tokenize(f"{n}. {d.text}\n") for n in itertools.count() for d in documents(source)
        )
        while wanted:
            row = self.subject.tokenizer.decode(list(itertools.islice(ids, room - 12)))
            fits = room - room // WHOLE < len(self.subject.tokenize(row)) <= room
            if fits and split_of(Passage(row, running=False), 0) == "heldout":
                wanted -= 1
                yield row

    @torch.no_grad()
    def dictionaries(self, cut: Blocks, latents: int, active: int) -> list[str]:
        """Random dictionaries, in the workspace and as bare weights; returns their ids."""
        workspace = Workspace.open(self.task.workspace, create=True)
        sites = [Site(layer) for layer in self.task.layers]
        sample = cut[slice(0, self.task.batch)]
        values = self.subject.read(torch.from_numpy(sample.tokens), sites)
        real = torch.from_numpy(sample.real)
        with runs.start(workspace, "train", {"bench": True}) as run:
            return [self._dictionary(run, site, values[site][real], (latents, active)) for site in sites]

    def _dictionary(self, run: runs.Run, site: Site, values: torch.Tensor, size: tuple[int, int]) -> str:
        from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig

        latents, active = size
        norms = values.norm(dim=-1)
        limit = float(10 * norms.median())
        values = values[norms <= limit]
        rows = torch.nn.functional.normalize(
            torch.randn(latents, values.shape[1], generator=torch.Generator().manual_seed(site.layer)), dim=-1
        )
        pre = (values - values.mean(dim=0)) @ rows.T
        bound = pre.flatten().kthvalue(pre.numel() - active * len(values)).values
        sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=values.shape[1], d_sae=latents, apply_b_dec_to_input=False))
        weights = {
            "W_enc": rows.T.contiguous(), "W_dec": rows, "b_enc": -(values.mean(dim=0) @ rows.T),
            "b_dec": values.mean(dim=0), "threshold": bound.expand(latents).contiguous(),
        }  # fmt: skip
        save_file(weights, Path(self.task.weights) / f"{site.layer}.safetensors")
        sae.load_state_dict(weights)
        digest = save(run.workspace, sae, {"hook_name": site.hook, "massive_norm": limit})
        with run.workspace.write() as db:
            append(db, "dictionaries", [{"dictionary": digest, "name": str(site), "model": self.subject.digest,
                "site": str(site), "layer": site.layer, "architecture": "jumprelu", "latents": latents, "run": run.run,
                "metrics": {}}])  # fmt: skip
        return digest

    def run(self, side: str, dtype: str) -> tuple[Run, Caching]:
        """Runs `side` in a process of its own."""
        out = tempfile.mkdtemp(prefix=side, dir=self.folder)
        copy = shutil.copytree(self.task.workspace, Path(out) / "workspace")
        task = replace(self.task, dtype=dtype, out=out, workspace=str(copy))
        program = FOLDER / "sides" / f"caching_with_{side}.py"
        offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        ours = {"PYTHONPATH": str(ROOT)} if side == "lacewing" else {}
        command = [str(interpreter(side)), "-W", "ignore", str(program), json.dumps(asdict(task))]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | offline | ours, check=False)
        if done.returncode:
            raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
        return Run(**json.loads(done.stdout.splitlines()[-1])[0]), task


def tables(setting: Setting) -> Iterator[Table]:
    for layers in setting.of(LAYERS, ([0, 1],)):
        with Ground.make(setting, layers) as ground:
            done: dict[str, Run] = {}
            yield _rates(ground, setting, done)
            if len(layers) > 1:
                yield _memory(ground, setting, done)
    yield windows(setting)


def _rates(ground: Ground, setting: Setting, done: dict[str, Run]) -> Table:
    """Tokens a second, both sides in turn, and what both found; `done` gets a run of each side in fp32."""
    columns = (
        "delphi's precision", "ours", "delphi, tokens/s", "ours, tokens/s", "ratio", "until found", "of processor time",
        "until found", "common", "r",
    )  # fmt: skip
    where = ", ".join(map(str, ground.task.layers))
    table = Table(f"Harvesting {ground.task.tokens:,} tokens of dictionaries after blocks {where}", columns)
    massive = 0.0
    for theirs, ours in setting.of(PAIRS, PAIRS[1:2]):
        sides = {
            "lacewing": lambda p=ours: ground.run("lacewing", p),
            "delphi": lambda p=theirs: ground.run("delphi", p),
        }
        made = alternate(sides, setting.of(ROUNDS, 1))
        left, right = ([run for run, _ in made[side]] for side in ("lacewing", "delphi"))
        found = likeness(ground, made["lacewing"][-1], made["delphi"][-1])
        massive = max(massive, found.massive)
        rates = (Spread.of([r.rate for r in right]), Spread.of([r.rate for r in left]))
        ratios = [Spread.ratio([c[n] for c in cost(right)], [c[n] for c in cost(left)]) for n in range(4)]
        table.rows.append((theirs, ours, *rates, *ratios, found.common, found.r))
        if theirs == ours == "float32":
            done |= {"lacewing": left[-1], "delphi": right[-1]}
        if theirs == ours == "float32" and (found.common < LEAST_COMMON or found.r < LEAST_R):
            raise SystemExit(f"The two sides found different activations: {found}.")
    table.notes.append(
        "Common: the Jaccard index of the (latent, token) pairs that both found. r: Pearson's, of the values of common "
        f"pairs. In fp32 on both sides they are at least {LEAST_COMMON} and {LEAST_R}, or the benchmark fails."
    )
    table.notes.append(
        "Until found: sorting, statistics and the store (ours), or the splits' files (delphi), do not count. "
        "Processor time is that of all threads of a side, which other work on the machine leaves as it is."
    )
    table.notes.append(f"Left out, since ours does not encode them: {massive:.2%} of tokens.")
    return table


def cost(made: list[Run]) -> list[tuple[float, ...]]:
    """Seconds a token of each run: whole and until found on the wall, then on a processor."""
    seconds = [(run.whole[0], run.found[0], run.whole[1], run.found[1]) for run in made]
    return [tuple(each / run.tokens for each in own) for run, own in zip(made, seconds, strict=True)]


@dataclass(frozen=True)
class Likeness:
    """How alike the activations of two sides are, over all dictionaries."""

    common: float
    r: float
    massive: float
    """The share of tokens left out."""


def likeness(ground: Ground, ours: tuple[Run, Caching], theirs: tuple[Run, Caching]) -> Likeness:
    """`ours` and `theirs`, entry by entry."""
    keys: list[int] = [0, 0]
    values: list[np.ndarray] = []
    left_out = 0
    for place, layer in enumerate(ground.task.layers):
        left = _of_ours(ground, ours, ground.task.dictionaries[place])
        right = _of_theirs(ground, theirs[1], layer)
        silent = np.setdiff1d(np.unique(right[0] >> 32), np.unique(left[0] >> 32))
        kept = ~np.isin(right[0] >> 32, silent)
        right = (right[0][kept], right[1][kept])
        left_out += len(silent)
        _, a, b = np.intersect1d(left[0], right[0], assume_unique=True, return_indices=True)
        keys = [keys[0] + len(a), keys[1] + len(left[0]) + len(right[0]) - len(a)]
        values.append(np.stack([left[1][a], right[1][b]]))
    r = float(np.corrcoef(np.concatenate(values, axis=1))[0, 1])
    return Likeness(keys[0] / keys[1], r, left_out / (ground.task.tokens * len(ground.task.layers)))


def _of_ours(ground: Ground, made: tuple[Run, Caching], dictionary: str) -> tuple[np.ndarray, np.ndarray]:
    """Keys token << 32 | latent, and values."""
    run, task = made
    files = Files(Workspace(Path(task.workspace)), run.harvest)
    table = pa.concat_tables([pq.read_table(path) for path in files.parts(dictionary)])
    latent, document, position, value = (
        table.column(n).to_numpy() for n in ("latent", "document", "position", "value")
    )
    first = _first(ground)
    token = first[document] + position
    return token.astype(np.int64) << 32 | latent, value


def _first(ground: Ground) -> np.ndarray:
    """The place of each document's first token, by number."""
    inside = ground.cut.length - ground.cut.prefix
    sizes = np.bincount(ground.cut.document, weights=inside).astype(np.int64)
    return np.cumsum(sizes) - sizes


def _of_theirs(ground: Ground, task: Caching, layer: int) -> tuple[np.ndarray, np.ndarray]:
    cut, first = ground.cut, _first(ground)
    keys: list[np.ndarray] = []
    values: list[np.ndarray] = []
    for path in (Path(task.out) / f"layers.{layer}").glob("*.safetensors"):
        split = load_file(path)
        row, place, latent = split["locations"].astype(np.int64).T
        real = cut.real[row, place]
        token = first[cut.document[row]] + cut.start[row] + place - cut.prefix
        keys.append((token << 32 | (latent + int(path.stem.split("_")[0])))[real])
        values.append(split["activations"].astype(np.float32)[real])
    return np.concatenate(keys), np.concatenate(values)


def _memory(ground: Ground, setting: Setting, done: dict[str, Run]) -> Table:
    """Both sides with the tokens, as `done`, and with a tenth of them."""
    tenth = ground.sized(ground.task.tokens // 10, _source(ground, setting))
    columns = ("side", "tokens", "MB", "more tokens", "MB", "grown by")
    table = Table("Memory at most, beyond the open model", columns)
    for side, large in done.items():
        small = tenth.run(side, "float32")[0]
        grown = large.grown - small.grown
        table.rows.append((side, f"{small.tokens:,}", small.grown, f"{large.tokens:,}", large.grown, grown))
    return table


def _source(ground: Ground, setting: Setting) -> str | None:
    return str(ground.folder / "text.jsonl") if setting.quick else None


def windows(setting: Setting) -> Table:
    """Examples of one latent out of a million: its firings, and sixteen windows of text around them."""
    latents, rows, asked = setting.of((1_000_000, 20_000_000, 300), (20_000, 200_000, 20))
    with tempfile.TemporaryDirectory(prefix="lacewing-bench-") as folder:
        workspace = Workspace.open(Path(folder) / "workspace", create=True)
        _generate(workspace, latents, rows)
        draw = np.random.default_rng(1)
        began = time.perf_counter()
        reader = Reader(workspace, "wide", "generated")
        first = len(shown(reader, int(draw.integers(latents)), 16, 0))
        opened = time.perf_counter() - began
        times = {"its activations": reader.firings, "sixteen windows": lambda n: shown(reader, n, 16, 0)}
        table = Table(
            f"One latent of {latents:,}, {rows:,} activations in {len(Files(workspace, 'generated').parts('wide'))} parts",
            ("what is read", "median, ms", "95 % are below, ms", "latents asked for"),
        )
        for name, ask in times.items():
            taken = [_milliseconds(ask, int(n)) for n in draw.choice(latents, asked, replace=False)]
            table.rows.append((name, float(np.median(taken)), float(np.quantile(taken, 0.95)), asked))
    table.notes.append(
        f"The first one in a process, with {first} windows, took {short(opened * 1e3)} ms: the tokens are read then."
    )
    return table


def _milliseconds(ask: Any, latent: int) -> float:
    began = time.perf_counter()
    with contextlib.suppress(TooFew):  # a few latents fire in one half of the documents alone
        ask(latent)
    return (time.perf_counter() - began) * 1e3


def _generate(workspace: Workspace, latents: int, rows: int) -> None:
    """Parts as a harvest writes them: each latent fires equally often, anywhere in 250 tokens of 2,500 documents."""
    files, draw = Files(workspace, "generated"), np.random.default_rng(0)
    documents, length, each = max(rows // 8_000, 10), 250, rows // latents
    ids = draw.integers(0, 5000, (documents, length), dtype=np.int32)
    tokens = {
        "document": pa.array(np.arange(documents), pa.int32()),
        "half": pa.array(["explain" if n % 2 else "score" for n in range(documents)]),
        "ids": pa.array(list(ids), pa.list_(pa.int32())),
        "text": pa.array([[f" w{i}" for i in row] for row in ids.tolist()], pa.list_(pa.string())),
    }
    files.write(files.tokens(0), pa.table(tokens))
    share = max(latents // 7, 1)
    for number, start in enumerate(range(0, latents, share)):
        span = np.arange(start, min(start + share, latents))
        place = np.sort(draw.integers(0, documents * length, (len(span), each)), axis=1).ravel()
        columns = [np.repeat(span, each), place // length, place % length]
        value = draw.random(len(place), dtype=np.float32) + 0.1
        latent, document, position = (c.astype(np.int32) for c in columns)
        made = Activations(latent, document, position, value, token=np.zeros(len(place), np.int32))
        files.write(files.part("wide", number), made.table(token=False))
