"""Feature activations of a model's dictionaries over held-out text.

1. Held-out documents (never trained on) are chosen by the seed until there are enough tokens; each is `explain` or
   `score` by the digest of its text, so windows that explain and windows that score never share one.
2. Chunk by chunk of documents, one forward pass that stops at the deepest site feeds all dictionaries. The model may
   compute in bf16 (three to four times faster where the processor can; activations then differ by about 1 % and
   latents close to their threshold may flip); dictionaries encode in fp32 always. Prefix positions are left out, and
   so are activations at massive tokens, on which the dictionary was not trained.
3. Each chunk's non-zero activations are written at once, so memory does not grow with the harvest (`shards.py`);
   a run that is killed keeps its chunks, and the next one goes on from them.
4. The chunks are merged into sorted parts and each latent's statistics become its row in `features`.
5. Only then the `harvests` rows are written: a harvest without rows does not exist for readers.

Positions count a document's tokens from 0 without the prefix. Documents longer than a block are cut into blocks, and
the model sees nothing of the block before; the token ids of the whole document are kept, so a window may span a cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from torch import Tensor

from autointerp.config import HarvestConfig
from autointerp.shards import Activations, Files, merge
from autointerp.statistics import Vocabulary, project, rows
from autointerp.watch import Advance, watch
from data import runs
from data.errors import Mistake
from data.models import Subject
from data.runs import Run
from data.store import Workspace, append
from data.texts import Blocks, Document, blocks, documents
from data.words import Site, digest
from training.dictionary import Dictionary, dictionaries_of, load_dictionary

CHUNK = 64
"""Documents whose activations are held in memory at a time."""


@dataclass(frozen=True)
class Harvested:
    """What a harvest made."""

    harvest: str
    run: str
    documents: int
    tokens: int
    dictionaries: tuple[str, ...]


@dataclass
class Plan:
    """A harvest decided upon: what is read, by whom, and the digest of all that."""

    subject: Subject
    dictionaries: list[Dictionary]
    documents: list[Document]
    context: int
    batch: int
    harvest: str
    files: Files
    spelling: Spelling = field(init=False)

    def __post_init__(self) -> None:
        self.spelling = Spelling(self.subject)

    @property
    def ids(self) -> list[str]:
        return [d.digest for d in self.dictionaries]

    @property
    def chunks(self) -> list[list[Document]]:
        return [self.documents[at : at + CHUNK] for at in range(0, len(self.documents), CHUNK)]


class Spelling(dict[int, str]):
    """Each token id as text, looked up once."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self._subject = subject

    def __missing__(self, token: int) -> str:
        self[token] = self._subject.spell([token])[0]
        return self[token]


def harvest(workspace: Workspace, config: HarvestConfig, console: Console | None = None) -> Harvested:
    """Harvests, or finds an equal harvest that is done. Raises `Mistake` for an absent model, text or dictionary."""
    subject = Subject.open(config.model, dtype=precision(config.precision))
    plan = _plan(workspace, config, subject)
    inputs = {"harvest": plan.harvest}
    if done := runs.finished(workspace, "harvest", config, inputs):
        return _known(workspace, done, plan)
    unfinished = runs.unfinished(workspace, "harvest", config, inputs)
    begin = (
        runs.resume(workspace, unfinished)
        if unfinished
        else runs.start(workspace, "harvest", config, seed=config.seed, inputs=inputs)
    )
    with begin as run:
        result = _work(plan, run, console)
        run.summary |= {"harvest": result.harvest, "tokens": result.tokens, "documents": result.documents}
    plan.files.clear()
    return result


def precision(name: str) -> torch.dtype:
    """The dtype called `name`; `auto` is bf16 where the processor computes in it natively."""
    if name == "auto":
        name = "bf16" if torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[name]


def half_of(text: str) -> str:
    """`explain` or `score`, by the digest of a document's text: equal texts are on the same side."""
    return "explain" if int(digest("half", text, length=2), 16) % 2 else "score"


def _plan(workspace: Workspace, config: HarvestConfig, subject: Subject) -> Plan:
    dictionaries = _dictionaries(workspace, config, subject)
    chosen = choose(config.text, config.tokens, config.seed, subject)
    content = [(d.number, digest(d.text)) for d in chosen]
    dtype = str(next(subject.model.parameters()).dtype)
    harvest = digest(
        "harvest", subject.digest, [d.digest for d in dictionaries], content, config.context, dtype, length=12
    )
    files = Files(workspace, harvest)
    return Plan(subject, dictionaries, chosen, config.context, config.batch, harvest, files)


def _dictionaries(workspace: Workspace, config: HarvestConfig, subject: Subject) -> list[Dictionary]:
    named = [name.strip() for name in config.dictionaries.split(",") if name.strip()]
    found = named or list(dictionaries_of(workspace, subject.digest).values())
    if not found:
        raise Mistake(
            f"This workspace has no dictionary of the model {config.model!r}. "
            f"Train some first: `lacewing train --model {config.model}`."
        )
    opened = [load_dictionary(workspace, name) for name in found]
    for dictionary in opened:
        if dictionary.d_model != subject.d_model:
            raise Mistake(
                f"Dictionary {dictionary.digest} has width {dictionary.d_model}, and {config.model} has "
                f"{subject.d_model}; name dictionaries of this model with --dictionaries."
            )
    return sorted(opened, key=lambda d: (subject.check(d.site).depth, d.digest))


def choose(text: str | None, tokens: int, seed: int, subject: Subject) -> list[Document]:
    """Held-out documents in an order drawn by `seed`, until they have `tokens` tokens; returned in order of number."""
    pool = [d for d in documents(text, split="heldout") if d.text.strip()]
    if not pool:
        raise Mistake(f"The text {text or 'sample'!r} has no held-out document; give a text of more documents.")
    pool.sort(key=lambda d: digest("harvest", seed, d.number))
    chosen: list[Document] = []
    made = 0
    for document in pool:
        if made >= tokens:
            break
        chosen.append(document)
        made += len(subject.tokenize(document.text))
    return sorted(chosen, key=lambda d: d.number)


def _known(workspace: Workspace, run: str, plan: Plan) -> Harvested:
    summary = runs.find(workspace, run)["summary"]
    return Harvested(plan.harvest, run, summary["documents"], summary["tokens"], tuple(plan.ids))


def _work(plan: Plan, run: Run, console: Console | None) -> Harvested:
    counts = np.zeros(_vocabulary_size(plan.subject), dtype=np.int64)
    with watch(run, "reading", len(plan.documents), console=console) as advance:
        for number, chunk in enumerate(plan.chunks):
            counts += _chunk(plan, number, chunk)
            advance(len(chunk))
    vocabulary = Vocabulary(counts, plan.spelling)
    with watch(run, "sorting", sum(d.latents for d in plan.dictionaries), console=console) as advance:
        features = {d.digest: list(_features(plan, d, vocabulary, advance)) for d in plan.dictionaries}
    _store(plan, run, features, vocabulary.total)
    return Harvested(plan.harvest, run.run, len(plan.documents), vocabulary.total, tuple(plan.ids))


def _vocabulary_size(subject: Subject) -> int:
    return max(subject.model.get_output_embeddings().weight.shape[0], len(subject.tokenizer))


def _chunk(plan: Plan, number: int, chunk: Sequence[Document]) -> np.ndarray:
    """Harvests one chunk unless it is there already; returns how often each token id occurs in it."""
    cut = blocks(chunk, plan.subject.tokenizer, context=plan.context, prefix=plan.subject.prefix)
    if not plan.files.complete(plan.ids, number):
        found = _activations(plan, cut)
        for dictionary, activations in found.items():
            plan.files.write(plan.files.chunk(dictionary, number), activations.table(token=True), group=65_536)
        plan.files.write(plan.files.tokens(number), _tokens(plan, chunk, cut))
    real = cut.tokens[_real(cut)]
    return np.bincount(real, minlength=_vocabulary_size(plan.subject))


def _real(cut: Blocks) -> np.ndarray:
    """Which positions [blocks, context] hold a token of the text: neither prefix nor padding."""
    place = np.arange(cut.tokens.shape[1])
    return (place >= cut.prefix) & (place < cut.length[:, None])


def _tokens(plan: Plan, chunk: Sequence[Document], cut: Blocks) -> pa.Table:
    real = _real(cut)
    ids: dict[int, list[int]] = {d.number: [] for d in chunk}
    for row, document in enumerate(cut.document.tolist()):
        ids[document] += cut.tokens[row][real[row]].tolist()
    return pa.table(
        {
            "document": pa.array(ids, pa.int32()),
            "half": pa.array([half_of(d.text) for d in chunk]),
            "ids": pa.array(list(ids.values()), pa.list_(pa.int32())),
            "text": pa.array([[plan.spelling[i] for i in row] for row in ids.values()], pa.list_(pa.string())),
        }
    )


def _activations(plan: Plan, cut: Blocks) -> dict[str, Activations]:
    """All non-zero activations of a chunk, by dictionary."""
    pieces: dict[str, list[Activations]] = {name: [] for name in plan.ids}
    sites = sorted({d.site for d in plan.dictionaries})
    for begin in range(0, len(cut), plan.batch):
        part = cut[slice(begin, begin + plan.batch)]
        values = _read(plan.subject, part, sites)
        for dictionary in plan.dictionaries:
            pieces[dictionary.digest].append(_encode(dictionary, values[dictionary.site], part))
    return {name: Activations.join(found) for name, found in pieces.items()}


@torch.no_grad()
def _read(subject: Subject, part: Blocks, sites: list[Site]) -> dict[Site, Tensor]:
    """The residual at each site in fp32 [tokens, d_model], real positions only, in order."""
    width = int(part.length.max())
    real = torch.from_numpy(_real(part)[:, :width])
    values = subject.read(torch.from_numpy(part.tokens[:, :width]), sites)
    return {site: value[real].float() for site, value in values.items()}


@torch.no_grad()
def _encode(dictionary: Dictionary, values: Tensor, part: Blocks) -> Activations:
    """All activations of a batch, without those at massive tokens."""
    ordinary = values.norm(dim=-1) <= dictionary.massive_norm
    active = (dictionary.encode(values) * ordinary[:, None]).T.contiguous()
    latent, row = active.nonzero(as_tuple=True)
    real = _real(part)
    block, place = real.nonzero()
    where = np.stack([part.document[block], part.start[block] + place - part.prefix, part.tokens[real]])
    at = where[:, row.numpy()].astype(np.int32)
    value = active[latent, row].float().numpy()
    return Activations(latent.numpy().astype(np.int32), at[0], at[1], value, at[2])


def _features(plan: Plan, dictionary: Dictionary, vocabulary: Vocabulary, advance: Advance) -> Iterator[dict[str, Any]]:
    logits = project(plan.subject, dictionary.W_dec.detach().float(), vocabulary)
    for span, activations in merge(plan.files, dictionary.digest, len(plan.chunks), dictionary.latents):
        for row in rows(span, activations, vocabulary, logits, plan.harvest):
            yield {"dictionary": dictionary.digest} | row
            advance()


def _store(plan: Plan, run: Run, features: dict[str, list[dict[str, Any]]], tokens: int) -> None:
    made = {"harvest": plan.harvest, "model": plan.subject.digest, "documents": len(plan.documents), "tokens": tokens}
    with run.workspace.write() as db:
        for dictionary, found in features.items():
            db.execute("delete from features where dictionary = ?", [dictionary])
            db.execute("delete from harvests where dictionary = ? and harvest = ?", [dictionary, plan.harvest])
            append(db, "features", found)
        append(db, "harvests", [made | {"dictionary": name, "run": run.run} for name in features])
