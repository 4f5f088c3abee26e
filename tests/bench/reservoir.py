"""The shuffle: our reservoir beside sae-lens' mixing buffer, and how flat its throughput is.

Both get the same synthetic activations, pass by pass, and hand out batches of 4,096 tokens of width 576 in their steady
state. Ours holds bf16, as the model gives it; sae-lens' holds fp32, as its runner does, and bf16 for comparison.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from bench.harness import Setting, Spread, Table, _timed, alternate
from sae_lens.training.mixing_buffer import mixing_buffer
from torch import Tensor

from training.reservoir import Reservoir, Rows, mixing

WIDTH = 576
PASS = 2032
"""Tokens that 16 blocks of 128 give, prefix left out; they are of 16 documents."""
SLOTS = (16_384, 65_536, 262_144, 1_048_576)


def tables(setting: Setting) -> Iterator[Table]:
    slots, batch = setting.of(262_144, 4096), setting.of(4096, 256)
    yield beside_saelens(setting, slots, batch)
    yield flatness(setting, batch)


def beside_saelens(setting: Setting, slots: int, batch: int) -> Table:
    """Tokens a second of each, and the documents in a batch, which say how well it mixes."""
    count = slots // batch  # two rounds of sae-lens' buffer, which serves half of itself at a time
    sides = {
        "reservoir, bf16": _ours(slots, batch, count),
        "sae-lens, fp32": _theirs(slots, batch, count, torch.float32),
        "sae-lens, bf16": _theirs(slots, batch, count, torch.bfloat16),
    }
    seconds = alternate({name: lambda work=work: _timed(work) for name, work in sides.items()}, setting.of(5, 1))
    found = Table(
        f"Shuffle of {slots:,} tokens, batch {batch:,}",
        ("side", "tokens/s", "reservoir is faster by", "documents/batch"),
    )
    documents = {"reservoir": _documents(_our_batches(slots, batch, 1), count)} | {
        "sae-lens": _documents(_their_batches(slots, batch, torch.float32, 1), count)
    }
    for name, times in seconds.items():
        speed = Spread.of([count * batch / t for t in times])
        ratio = Spread.ratio(times, seconds["reservoir, bf16"])
        found.rows.append((name, speed, ratio, documents[name.partition(",")[0]]))
    found.notes.append(f"A pass adds {PASS:,} tokens of 16 documents; width {WIDTH}.")
    return found


def flatness(setting: Setting, batch: int) -> Table:
    """Tokens a second at each size; all sizes in each round, so that a slow time hits all."""
    sizes = setting.of(SLOTS, (1024, 4096))
    count = setting.of(64, 4)
    other = torch.ones(1 << 26, dtype=torch.uint8)
    batches = {size: _our_batches(size, batch) for size in sizes}
    timed = {str(size): lambda size=size: _in_use(batches[size], count, other) for size in sizes}
    alternate(timed, 1)  # fills them, and uses up what is still in the order of the text
    seconds = alternate(timed, setting.of(7, 1))
    found = Table(
        f"Reservoir at several sizes, batch {batch:,}", ("slots", "tokens/s", f"time beside {sizes[0]:,}", "memory, MB")
    )
    for size in sizes:
        speed = Spread.of([count * batch / t for t in seconds[str(size)]])
        ratio = Spread.ratio(seconds[str(size)], seconds[str(sizes[0])])
        memory = Reservoir(size, 1, width=WIDTH, dtype=torch.bfloat16, seed=0).memory / 1e6
        found.rows.append((f"{size:,}", speed, ratio, memory))
    found.notes.append(
        "Between batches 64 MB of other memory are read, which is not timed: as in training, where a model and "
        "dictionaries pass through the caches, and without which the smallest reservoir would live in them."
    )
    return found


def _in_use(batches: Iterator[Rows], count: int, other: Tensor) -> float:
    """Seconds that the next `count` batches take, the time in which `other` is read left out."""
    total = 0.0
    for _ in range(count):
        other.sum()
        total += _timed(lambda: next(batches))
    return total


def _passes(dtype: torch.dtype, width: int) -> Iterator[Rows]:
    """Passes without end; their values are a few tensors again and again, made beforehand."""
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(PASS, 1, width, generator=generator).to(dtype) for _ in range(8)]
    block = torch.arange(16).repeat_interleave(PASS // 16)
    for number in itertools.count():
        yield Rows(made[number % len(made)], block + 16 * number)


def _our_batches(slots: int, batch: int, width: int = WIDTH) -> Iterator[Rows]:
    reservoir = Reservoir(slots, 1, width=width, dtype=torch.bfloat16, seed=0)
    passes = _passes(torch.bfloat16, width)
    waiting = next(passes)
    while True:
        while reservoir.free:
            waiting = reservoir.add(waiting if len(waiting) else next(passes))
        yield reservoir.take(batch)


def _their_batches(slots: int, batch: int, dtype: torch.dtype, width: int = WIDTH) -> Iterator[Tensor]:
    if width == 1:  # the values are the documents, to count these in a batch
        yield from mixing_buffer(slots, batch, (p.document[:, None].float() for p in _passes(dtype, 1)))
    yield from mixing_buffer(slots, batch, (p.values[:, 0] for p in _passes(dtype, width)))


def _ours(slots: int, batch: int, count: int) -> Callable[[], object]:
    return _served(_our_batches(slots, batch), count)


def _theirs(slots: int, batch: int, count: int, dtype: torch.dtype) -> Callable[[], object]:
    return _served(_their_batches(slots, batch, dtype), count)


def _served(batches: Iterator[object], count: int) -> Callable[[], object]:
    """The next `count` batches, the first of all taken beforehand: that one fills the buffer."""
    next(batches)

    def work() -> None:
        for _ in itertools.islice(batches, count):
            pass

    return work


def _documents(batches: Iterator[Rows] | Iterator[Tensor], count: int) -> float:
    """The mean number of documents in a batch, once the buffer has been used up twice."""
    found = [
        mixing(b) if isinstance(b, Rows) else len(b.unique()) for b in itertools.islice(batches, 2 * count, 3 * count)
    ]
    return sum(found) / len(found)
