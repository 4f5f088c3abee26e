"""A harvest's first unit of work: a chunk of documents goes in, its activations and tokens are on disk.

1. The documents are cut into blocks. Blocks that stand near one another (`WINDOW`) are put into passes by length, so
   that the last, short blocks of documents are not padded to the length of whole ones.
2. One forward pass that stops at the deepest site feeds all dictionaries; a thread makes the next pass while they encode
   the last one. The model may compute in bf16 (three to four times faster where the processor can; activations then
   differ by about 1 % and latents close to their threshold may flip); dictionaries encode in fp32 always.
3. Prefix, padding and special tokens that a text spells out are left out, as in training (`data.texts.Blocks.real`), and
   so are activations at massive tokens (`encoding.py`).
4. The entries of each `WINDOW` are written at once, by latent and by token, then the chunk's tokens, and last the mark
   that the chunk is whole. A process that is killed leaves whole files, and chunks without a mark are done again.

`harvest_chunk` takes nothing but what can be pickled: any process that sees the workspace can do it, and opens the model
once.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from autointerp.choosing import Chunk
from autointerp.encoding import Entries, entries
from autointerp.shards import PIECE, Activations, Files, sort_stably
from data import memory
from data.models import Subject
from data.store import Workspace
from data.texts import Blocks, Document, blocks
from data.words import Site, digest
from training.dictionary import Dictionary, load_dictionary

WINDOW = 256
"""Blocks that are sorted by length, and whose activations are in memory: a chunk's, unless a document is very long."""


@dataclass(frozen=True)
class Job:
    """A harvest as its workers know it."""

    folder: str
    """The workspace."""
    model: str
    dtype: str
    """fp32 or bf16."""
    dictionaries: tuple[str, ...]
    context: int
    batch: int
    harvest: str

    @property
    def files(self) -> Files:
        return Files(Workspace(Path(self.folder)), self.harvest)


@dataclass(frozen=True)
class Reading:
    """Makes what does chunks, for a pool."""

    job: Job

    def __call__(self) -> Callable[[Chunk], int]:
        return functools.partial(harvest_chunk, self.job)


class Spelling(dict[int, str]):
    """Each token id as text, looked up once."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self._subject = subject

    def __missing__(self, token: int) -> str:
        self[token] = self._subject.spell([token])[0]
        return self[token]


@dataclass(frozen=True)
class Worker:
    """What a process opens once for a job."""

    subject: Subject
    dictionaries: tuple[Dictionary, ...]
    spelling: Spelling

    @classmethod
    def of(cls, subject: Subject, dictionaries: Sequence[Dictionary]) -> Worker:
        return cls(subject, tuple(dictionaries), Spelling(subject))

    @property
    def sites(self) -> list[Site]:
        return sorted({site for d in self.dictionaries for site in d.reads})


DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


_KEPT: dict[Job, Worker] = {}


def opened(job: Job) -> Worker:
    """The model and the dictionaries of `job`, opened when first asked for and kept until `close`."""
    if job not in _KEPT:
        subject = Subject.open(job.model, dtype=DTYPES[job.dtype])
        workspace = Workspace(Path(job.folder))
        keep(job, Worker.of(subject, [load_dictionary(workspace, d) for d in job.dictionaries]))
    return _KEPT[job]


def keep(job: Job, worker: Worker) -> None:
    """This process uses `worker` for `job`, and lets go of any other."""
    _KEPT.clear()
    _KEPT[job] = worker


def close() -> None:
    """Lets go of what `opened` keeps."""
    _KEPT.clear()
    gc.collect()
    memory.give_back()


def harvest_chunk(job: Job, chunk: Chunk) -> int:
    """Harvests `chunk` unless it is there already; returns how many documents it has. Raises `Mistake`."""
    files = job.files
    if not files.done(chunk.number).is_file():
        worker = opened(job)
        _write_chunk(job, worker, chunk)
        files.done(chunk.number).touch()
    return len(chunk.documents)


def half_of(text: str) -> str:
    """`explain` or `score`, by the digest of a document's text: equal texts are on the same side."""
    return "explain" if int(digest("half", text, length=2), 16) % 2 else "score"


@dataclass(frozen=True)
class Tokens:
    """The tokens of a chunk's documents, one document after another; the number of a token in it is its place here."""

    document: Int[np.ndarray, " tokens"]
    position: Int[np.ndarray, " tokens"]
    ids: Int[np.ndarray, " tokens"]
    first: dict[int, int]
    """Where each document begins."""

    @classmethod
    def of(cls, cut: Blocks) -> Tokens:
        """All tokens of `cut`, the special ones too, which is in the order of its documents."""
        inside = text_of(cut)
        sizes = inside.sum(axis=1)
        document = np.repeat(cut.document, sizes)
        within = np.concatenate([np.arange(size) for size in sizes.tolist()] or [np.zeros(0, np.int64)])
        position = np.repeat(cut.start, sizes) + within
        number, first = np.unique(document, return_index=True)
        return cls(document, position, cut.tokens[inside], dict(zip(number.tolist(), first.tolist(), strict=True)))


def text_of(cut: Blocks) -> Bool[np.ndarray, "blocks context"]:
    """Where there are tokens of the text, special ones that it spells out among them: neither prefix nor padding."""
    place = np.arange(cut.tokens.shape[1])
    return (place >= cut.prefix) & (place < cut.length[:, None])


def _write_chunk(job: Job, worker: Worker, chunk: Chunk) -> None:
    files, subject = job.files, worker.subject
    cut = blocks(chunk.documents, subject.tokenizer, context=job.context, prefix=subject.prefix)
    tokens = Tokens.of(cut)
    for piece, begin in enumerate(range(0, len(cut), WINDOW)):
        for dictionary, found in _window(worker, cut[slice(begin, begin + WINDOW)], tokens, job.batch).items():
            _write_entries(files, tokens, found, (dictionary, chunk.number, piece))
    files.write(files.tokens(chunk.number), _tokens_table(worker, chunk.documents, tokens))


def _write_entries(files: Files, tokens: Tokens, found: Entries, at: tuple[str, int, int]) -> None:
    """The same entries twice: by latent, and by token."""
    files.write(files.together(*at), by_token(found), group=PIECE)
    order = sort_stably(found.latent)
    row = found.row[order]
    columns = (found.latent[order], tokens.document[row], tokens.position[row], found.value[order], tokens.ids[row])
    files.write(files.chunk(*at), Activations(*columns).table(token=True), group=PIECE)


def by_token(found: Entries) -> pa.Table:
    """The latents that are active on each token on which any is."""
    begin = np.flatnonzero(np.diff(found.row, prepend=-1))
    bounds = np.append(begin, len(found)).astype(np.int32)
    latents = pa.array(found.latent, pa.int32())
    return pa.table({"latents": pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), latents)})


def _tokens_table(worker: Worker, documents: Sequence[Document], tokens: Tokens) -> pa.Table:
    ends = [*tokens.first.values(), len(tokens.ids)]
    ids = {n: tokens.ids[a:b].tolist() for n, a, b in zip(tokens.first, ends, ends[1:], strict=False)}
    rows = [ids.get(d.number, []) for d in documents]
    return pa.table(
        {
            "document": pa.array([d.number for d in documents], pa.int32()),
            "half": pa.array([half_of(d.text) for d in documents]),
            "ids": pa.array(rows, pa.list_(pa.int32())),
            "text": pa.array([[worker.spelling[i] for i in row] for row in rows], pa.list_(pa.string())),
        }
    )


def _window(worker: Worker, cut: Blocks, tokens: Tokens, batch: int) -> dict[str, Entries]:
    """The entries of consecutive blocks, by dictionary and sorted by token, whose numbers are those in `tokens`."""
    order = np.argsort(-cut.length, kind="stable")
    passes = [cut[order[begin : begin + batch]].trimmed() for begin in range(0, len(cut), batch)]
    found: dict[str, list[Entries]] = {d.digest: [] for d in worker.dictionaries}
    for part, values in zip(passes, _ahead(worker, passes), strict=True):
        row = _rows(part, tokens)
        for dictionary in worker.dictionaries:
            made = entries(dictionary, torch.cat([values[site] for site in dictionary.reads], dim=-1))
            found[dictionary.digest].append(Entries(row[made.row], made.latent, made.value))
    return {name: _sorted(pieces) for name, pieces in found.items()}


def _rows(part: Blocks, tokens: Tokens) -> Int[np.ndarray, " real"]:
    """The number, within the chunk, of each real token of `part`."""
    block, place = part.real.nonzero()
    first = np.array([tokens.first[document] for document in part.document.tolist()])
    return (first[block] + part.start[block] + place - part.prefix).astype(np.int32)


def _sorted(pieces: Sequence[Entries]) -> Entries:
    row, latent, value = (np.concatenate([getattr(p, name) for p in pieces]) for name in ("row", "latent", "value"))
    order = sort_stably(row)
    return Entries(row[order], latent[order], value[order])


def _ahead(worker: Worker, passes: Sequence[Blocks]) -> Iterator[dict[Site, Tensor]]:
    """What `read` gives for each pass; a thread is one pass ahead of whoever takes them."""
    read = functools.partial(_read, worker.subject, sites=worker.sites)
    with ThreadPoolExecutor(1, "reading ahead") as thread:
        coming = thread.submit(read, passes[0])
        for part in passes[1:]:
            values, coming = coming.result(), thread.submit(read, part)
            yield values
        yield coming.result()


@torch.no_grad()
def _read(subject: Subject, part: Blocks, sites: list[Site]) -> dict[Site, Tensor]:
    """The residual at each site in fp32 [tokens, d_model], real positions only, in order."""
    real = torch.from_numpy(part.real)
    values = subject.read(torch.from_numpy(part.tokens), sites)
    return {site: value[real].float() for site, value in values.items()}


__all__ = ["Job", "Reading", "Worker", "close", "half_of", "harvest_chunk", "keep", "opened", "text_of"]
