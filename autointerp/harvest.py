"""Feature activations of a model's dictionaries over held-out text.

1. Held-out documents (never trained on) are chosen by the seed until there are enough tokens (`choosing.py`); each is
   `explain` or `score` by the digest of its text, so windows that explain and windows that score never share one.
2. Chunk by chunk of documents, one forward pass that stops at the deepest site feeds all dictionaries, and what is active
   is written at once (`reading.py`): memory does not grow with the harvest. A run that is killed keeps its chunks, and the
   next one goes on from them.
3. Range by range of latents, the chunks are merged into sorted parts, and each latent's statistics become a row
   (`sorting.py`).
4. Only then, in one transaction, the rows of `features` and `harvests` are written: a harvest without rows does not
   exist for readers.

Chunks and ranges are done by a `Pool`: in this process, or by others that see the workspace. Positions count a
document's tokens from 0 without the prefix. Documents longer than a block are cut into blocks, and the model sees nothing
of the block before; the token ids of the whole document are kept, so a window may span a cut.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import torch
from rich.console import Console

from autointerp import choosing, reading, sorting, spread
from autointerp.choosing import Chosen, choose
from autointerp.config import HarvestConfig
from autointerp.reading import Job, Reading, Worker, half_of
from autointerp.shards import Files, parquet
from autointerp.sorting import Range, Sorting
from autointerp.watch import watch
from data import runs
from data.errors import Mistake
from data.models import Subject
from data.pool import Lost, Pool
from data.runs import Run
from data.store import Workspace, append
from data.words import digest
from training.dictionary import Dictionary, dictionaries_of, load_dictionary
from training.importing import UNKNOWN

R = TypeVar("R")


@dataclass(frozen=True)
class Harvested:
    """What a harvest made."""

    harvest: str
    run: str
    documents: int
    tokens: int
    dictionaries: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A harvest decided upon: what is read, and by whom."""

    job: Job
    model: str
    """The model's digest."""
    chosen: Chosen
    latents: dict[str, int]
    """The dictionaries and how many latents each has."""


def harvest(
    workspace: Workspace, config: HarvestConfig, console: Console | None = None, pool: Pool | None = None
) -> Harvested:
    """Harvests, or finds an equal harvest that is done. Raises `Mistake` for an absent model, text or dictionary, for a
    dictionary of another model, and for files that cannot be read or written."""
    try:
        plan = _plan(workspace, config)
        inputs = {"harvest": plan.job.harvest}
        if (done := runs.finished(workspace, "harvest", config, inputs)) and _intact(plan, workspace, done):
            plan.job.files.clear()
            return _known(workspace, done, plan)
        with spread.opened(config, pool) as workers, _begin(workspace, config, inputs) as run:
            result = _work(plan, run, console, workers)
            run.summary |= workers.summary
        plan.job.files.clear()
        return result
    finally:
        sorting.forget()
        reading.close()


def precision(name: str) -> torch.dtype:
    """The dtype called `name`; `auto` is bf16 where the processor computes in it natively."""
    return reading.DTYPES[_precision(name)]


def _precision(name: str) -> str:
    if name != "auto":
        return name
    return "bf16" if torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"


def _begin(
    workspace: Workspace, config: HarvestConfig, inputs: dict[str, str]
) -> contextlib.AbstractContextManager[Run]:
    """The run of an equal harvest that was cut short, or a new one."""
    if unfinished := runs.unfinished(workspace, "harvest", config, inputs):
        return runs.resume(workspace, unfinished)
    return runs.start(workspace, "harvest", config, seed=config.seed, inputs=inputs)


def _plan(workspace: Workspace, config: HarvestConfig) -> Plan:
    dtype = _precision(config.precision)
    subject = Subject.open(config.model, dtype=reading.DTYPES[dtype])
    dictionaries = _dictionaries(workspace, config, subject)
    chosen = choose(config.text, config.tokens, config.seed, subject)
    ids = tuple(d.digest for d in dictionaries)
    shape = [config.context, config.batch, choosing.CHUNK, dtype]
    name = digest("harvest", subject.digest, ids, chosen.content, shape, length=12)
    job = Job(str(workspace.folder), config.model, dtype, ids, config.context, config.batch, name)
    reading.keep(job, Worker.of(subject, dictionaries))
    return Plan(job, subject.digest, chosen, {d.digest: d.latents for d in dictionaries})


def _dictionaries(workspace: Workspace, config: HarvestConfig, subject: Subject) -> list[Dictionary]:
    named = [name.strip() for name in config.dictionaries.split(",") if name.strip()]
    found = named or list(dictionaries_of(workspace, subject.digest).values())
    if not found:
        raise Mistake(
            f"This workspace has no dictionary of the model {config.model!r}. "
            f"Train some first: `lacewing train --model {config.model}`."
        )
    opened = [_checked(load_dictionary(workspace, name), config.model, subject) for name in dict.fromkeys(found)]
    return sorted(opened, key=lambda d: ([subject.check(site).depth for site in d.reads], d.digest))


def _checked(dictionary: Dictionary, model: str, subject: Subject) -> Dictionary:
    """`dictionary`, if it is of this model. Raises `Mistake` otherwise."""
    if dictionary.model not in (subject.digest, UNKNOWN):
        raise Mistake(
            f"Dictionary {dictionary.digest} was trained on another model (digest {dictionary.model}) than {model} "
            f"(digest {subject.digest}); name that model with --model, or dictionaries of this one with --dictionaries."
        )
    wide = len(dictionary.reads) * subject.d_model
    if dictionary.d_model != wide:
        raise Mistake(
            f"Dictionary {dictionary.digest} has width {dictionary.d_model}, and {model} has "
            f"{wide}; name dictionaries of this model with --dictionaries."
        )
    return dictionary


def _known(workspace: Workspace, run: str, plan: Plan) -> Harvested:
    summary = runs.find(workspace, run)["summary"]
    ids = tuple(plan.latents)
    return Harvested(plan.job.harvest, run, summary["documents"], summary["tokens"], ids)


def _intact(plan: Plan, workspace: Workspace, run: str) -> bool:
    """Whether the files of a finished harvest are all there, as far as their ends tell."""
    summary, files = runs.find(workspace, run)["summary"], plan.job.files
    for dictionary in plan.latents:
        parts = files.parts(dictionary)
        if len(parts) != summary.get("parts", {}).get(dictionary, len(parts)) or not all(map(_readable, parts)):
            return False
    tokens = files.all_tokens()
    return bool(tokens) and len(tokens) >= summary.get("chunks", 0) and all(map(_readable, tokens))


def _readable(path: Path) -> bool:
    try:
        with parquet(path):
            return True
    except Mistake:
        return False


def _work(plan: Plan, run: Run, console: Console | None, pool: Pool) -> Harvested:
    job, files = plan.job, plan.job.files
    files.scratch.mkdir(parents=True, exist_ok=True)
    _read(plan, run, console, pool)
    tokens = sorting.vocabulary(job).total
    if not tokens:
        raise Mistake(
            f"The text {plan.chosen.text or 'sample'!r} has no token to harvest; give a longer one with --text."
        )
    parts = _sort(plan, run, console, pool)
    _store(plan, run, parts, tokens)
    summary = {"documents": len(plan.chosen), "tokens": tokens, "chunks": plan.chosen.chunk_count}
    run.summary |= {"harvest": job.harvest, "parts": {name: len(found) for name, found in parts.items()}} | summary
    return Harvested(job.harvest, run.run, len(plan.chosen), tokens, job.dictionaries)


def _read(plan: Plan, run: Run, console: Console | None, pool: Pool) -> None:
    """Every chunk that is not there yet."""
    files = plan.job.files
    missing = [number for number in range(plan.chosen.chunk_count) if not files.done(number).is_file()]
    with watch(run, "reading", len(plan.chosen), console=console) as advance:
        advance(len(plan.chosen) - plan.chosen.documents_in(missing))
        for documents in _each(pool.map(Reading(plan.job), plan.chosen.chunks(missing))):
            advance(documents)


def _sort(plan: Plan, run: Run, console: Console | None, pool: Pool) -> dict[str, list[Range]]:
    """Every range of every dictionary; returns which there are."""
    found: dict[str, list[Range]] = {}

    def ranges() -> Iterator[Range]:
        for dictionary, latents in plan.latents.items():
            found[dictionary] = sorting.spans(plan.job, dictionary, latents)
            yield from found[dictionary]

    with watch(run, "sorting", sum(plan.latents.values()), console=console) as advance:
        for latents in _each(pool.map(Sorting(plan.job), ranges())):
            advance(latents)
    return found


def _each(results: Iterable[R | Lost]) -> Iterator[R]:
    """`results`, all of which are needed. Raises `Mistake` for one that was lost."""
    for result in results:
        if isinstance(result, Lost):
            raise Mistake(
                f"A piece of the harvest could not be done ({result.reason.rstrip('.')}). Run `lacewing harvest` again: "
                f"what is done is kept."
            )
        yield result


def _store(plan: Plan, run: Run, parts: dict[str, list[Range]], tokens: int) -> None:
    """Everything that readers see, in one transaction."""
    job = plan.job
    made = {"harvest": job.harvest, "model": plan.model, "documents": len(plan.chosen), "tokens": tokens}
    with run.workspace.write() as db:
        for dictionary, ranges in parts.items():
            db.execute("delete from features where dictionary = ?", [dictionary])
            db.execute("delete from harvests where dictionary = ? and harvest = ?", [dictionary, job.harvest])
            for batch in _rows(job.files, ranges):
                db.register("harvested", batch)
                db.execute("insert into features by name select * from harvested")
                db.unregister("harvested")
        append(db, "harvests", [made | {"dictionary": name, "run": run.run} for name in parts])


def _rows(files: Files, ranges: Sequence[Range]) -> Iterator[pa.Table]:
    for span in ranges:
        with parquet(files.rows(span.dictionary, span.number)) as file:
            yield from (pa.Table.from_batches([batch]) for batch in file.iter_batches(sorting.AT_ONCE))


__all__ = ["Harvested", "half_of", "harvest", "precision"]
