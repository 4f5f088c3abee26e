"""A harvest's second unit of work: a range of latents goes in, its sorted part and its rows of `features` are on disk.

1. `spans` counts a dictionary's activations in the chunks' files and cuts its latents into ranges that fit in memory.
2. `sort_range` reads one range from every file, writes it as a part, and then each latent's statistics, as a Parquet file
   of rows that the store takes up (`harvest.py`). A range whose rows are there is not done again.

Like a chunk, a range can be done by any process that sees the workspace; it opens the model once, counts the tokens once,
and reads the tokens of a dictionary's baskets (`neighbours.py`) once for all of its ranges in turn.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from autointerp import neighbours, statistics
from autointerp.neighbours import Baskets
from autointerp.reading import Job, opened
from autointerp.shards import Activations, Files, counted, gathered, parquet, ranges, read_range
from autointerp.statistics import Vocabulary
from data.texts import special_ids
from training.dictionary import Dictionary

SCHEMA = pa.schema(
    [
        ("dictionary", pa.string()),
        ("latent", pa.int32()),
        ("density", pa.float64()),
        ("max_activation", pa.float64()),
        ("statistics", pa.string()),
    ]
)
AT_ONCE = 4096
"""Rows of `features` in memory: some 10 MB."""


@dataclass(frozen=True)
class Range:
    """Latents `start` up to `stop` of a dictionary, which are its part `number`."""

    dictionary: str
    number: int
    start: int
    stop: int

    @property
    def latents(self) -> range:
        return range(self.start, self.stop)


@dataclass(frozen=True)
class Sorting:
    """Makes what does ranges, for a pool."""

    job: Job

    def __call__(self) -> Callable[[Range], int]:
        return functools.partial(sort_range, self.job)


def spans(job: Job, dictionary: str, latents: int) -> list[Range]:
    """The ranges of a dictionary whose chunks are all there; parts that will not be replaced are removed."""
    files = job.files
    paths = gathered(files, dictionary, _chunks(files, dictionary), latents)
    found = ranges(counted(paths, latents))
    files.prune(dictionary, len(found))
    return [Range(dictionary, number, span.start, span.stop) for number, span in enumerate(found)]


def sort_range(job: Job, span: Range) -> int:
    """Does `span`, unless it is done already; returns how many latents it has. Raises `Mistake`."""
    if not job.files.rows(span.dictionary, span.number).is_file():
        _sort(job, span)
    return span.stop - span.start


@functools.lru_cache(maxsize=1)
def vocabulary(job: Job) -> Vocabulary:
    """How often each token occurs in the harvest, special ones left out."""
    worker = opened(job)
    tokenizer = worker.subject.tokenizer
    size = max(worker.subject.model.get_output_embeddings().weight.shape[0], len(tokenizer))
    counts = np.zeros(size, dtype=np.int64)
    for path in job.files.all_tokens():
        with parquet(path, ("ids",)) as file:
            for batch in file.iter_batches(columns=["ids"]):
                counts += np.bincount(batch.column(0).flatten().to_numpy(), minlength=size)
    counts[list(special_ids(tokenizer))] = 0
    return Vocabulary(counts, worker.spelling)


def forget() -> None:
    """Lets go of what this module keeps."""
    vocabulary.cache_clear()
    _baskets.cache_clear()


def _chunks(files: Files, dictionary: str) -> list[Path]:
    return sorted((files.scratch / dictionary).glob("chunk-*.parquet"))


@functools.lru_cache(maxsize=1)
def _baskets(job: Job, dictionary: str, latents: int) -> Baskets:
    return neighbours.baskets(sorted((job.files.scratch / dictionary).glob("together-*.parquet")), latents)


def _sort(job: Job, span: Range) -> None:
    files = job.files
    dictionary = next(d for d in opened(job).dictionaries if d.digest == span.dictionary)
    paths = gathered(files, span.dictionary, _chunks(files, span.dictionary), dictionary.latents)
    activations = read_range(paths, span.latents)
    files.write(files.part(span.dictionary, span.number), activations.table(token=False))
    _write_rows(files, span, _rows(job, dictionary, span, activations))


def _rows(job: Job, dictionary: Dictionary, span: Range, activations: Activations) -> Iterator[dict[str, Any]]:
    """The rows of `features` for the latents of `span`."""
    subject, known = opened(job).subject, vocabulary(job)
    directions = dictionary.W_dec.detach()
    written = directions[span.start : span.stop, -subject.d_model :]  # of a crosscoder the deepest site that it writes
    made = zip(
        statistics.rows(span.latents, activations, known, statistics.project(subject, written, known), job.harvest),
        neighbours.together(_baskets(job, dictionary.digest, dictionary.latents), span.latents),
        neighbours.alike(directions, span.latents),
        strict=True,
    )
    for row, together, alike in made:
        known_of = row["statistics"] | {"neighbours": together, "nearest": alike}
        yield {"dictionary": dictionary.digest} | row | {"statistics": json.dumps(known_of, ensure_ascii=False)}


def _write_rows(files: Files, span: Range, rows: Iterator[dict[str, Any]]) -> None:
    """Writes rows as they come, the whole file or none."""
    batches = (pa.RecordBatch.from_pylist(batch, SCHEMA) for batch in _batched(rows))
    files.stream(files.rows(span.dictionary, span.number), SCHEMA, batches)


def _batched(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(itertools.islice(rows, AT_ONCE)):
        yield batch


__all__ = ["Range", "Sorting", "forget", "sort_range", "spans", "vocabulary"]
