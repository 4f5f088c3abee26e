"""A BatchTopK dictionary's step beside its bare matrix products: k = 32, d_model 576, fp32, activations at hand.

The products are the five of a dense step (encode, decode, and the gradients of codes, decoder and encoder) with nothing
between them. Sparse decoding leaves one of them: `share of peak` is that one's arithmetic over the step's time, as a
share of what a large square product reaches here. On a GPU the width of 32,768 is added.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from bench.harness import Setting, Spread, Table, alternate
from torch import Tensor

from data.words import Site
from training.config import LoopConfig
from training.plans import plans
from training.stack import Stack, seat
from training.stream import measure

D_MODEL = 576
K = 32
ROUNDS = 5
DEAD = 0.05
SQUARE = 4096
COLUMNS = (
    "latents", "batch", "dead latents", "step, ms", "five products, ms", "step / products", "share of peak",
    "memory taken by a step, MB",
)  # fmt: skip


def tables(setting: Setting) -> Iterator[Table]:
    table = Table("Dictionary step", COLUMNS)
    peak = square(setting)
    for latents in widths(setting):
        for batch in setting.of((256, 1024, 4096), (64,)):
            table.rows.append(row(setting, latents, batch, 0.0, peak=peak))
    table.rows.append(row(setting, widths(setting)[0], setting.of(4096, 64), DEAD, peak=peak))
    table.notes.append(f"A square product of {setting.of(SQUARE, 256):,}: {peak / 1e9:,.0f} GFLOP/s in fp32.")
    if setting.device == "cpu":
        table.notes.append("On a GPU: unmeasured.")
    yield table


def widths(setting: Setting) -> tuple[int, ...]:
    if setting.quick:
        return (256,)
    return (2304, 16_384, 32_768) if setting.device == "cuda" else (2304, 16_384)


def row(setting: Setting, latents: int, batch: int, dead: float, *, peak: float) -> tuple[object, ...]:
    rows = torch.randn(max(batch, 2048), 1, D_MODEL, generator=torch.Generator().manual_seed(0)).to(setting.device)
    step, products = stepping(rows, latents, batch, dead), multiplying(rows[:batch, 0], latents)
    taken = memory_of(step, setting)
    sides = {"step": lambda: timed(step, setting), "products": lambda: timed(products, setting)}
    found = alternate(sides, setting.of(ROUNDS, 1))
    encode = 2 * batch * D_MODEL * latents
    share = Spread.of([encode / seconds / peak for seconds in found["step"]])
    return (
        latents, batch, f"{dead:.0%}", milliseconds(found["step"]), milliseconds(found["products"]),
        Spread.ratio(found["step"], found["products"]), share, taken / 1e6,
    )  # fmt: skip


def stepping(rows: Tensor, latents: int, batch: int, dead: float) -> Callable[[], object]:
    """One step of our own on `batch` rows; `dead` is the share of latents held silent."""
    site = Site(0)
    plan = plans("batchtopk", (site,), latents=[latents], k=[K], learning_rate=[1e-4], seed=[0])
    config = LoopConfig(tokens=10**6, batch=batch, buffer=batch)
    stack = Stack.begin(plan, [seat(plan[0], (site,), measure(rows.cpu()))], rows, config)
    silent = torch.zeros_like(stack.silent)
    silent[:, : round(dead * latents)] = 10**9

    def step() -> object:
        stack.silent = silent.clone()
        return stack.step(rows[:batch], 10)

    return step


def multiplying(x: Tensor, latents: int) -> Callable[[], object]:
    """The five products of a dense step."""
    reading, writing = torch.randn(2, latents, D_MODEL, device=x.device)
    codes = torch.randn(len(x), latents, device=x.device)

    def products() -> object:
        return x @ reading.T, codes @ writing, x @ writing.T, codes.T @ x, codes.T @ x

    return products


def timed(work: Callable[[], object], setting: Setting) -> float:
    """Seconds of one call after another that warms up."""
    work()
    settle(setting)
    began = time.perf_counter()
    work()
    settle(setting)
    return time.perf_counter() - began


def square(setting: Setting) -> float:
    """Floating-point operations per second of a large square product."""
    size = setting.of(SQUARE, 256)
    a, b = torch.randn(2, size, size, device=setting.device)
    return 2 * size**3 / min(timed(lambda: a @ b, setting) for _ in range(3))


def memory_of(step: Callable[[], object], setting: Setting) -> float:
    """Bytes that one step adds to what is held before it, at most."""
    step()
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    held, most = 0, 0
    for event in profile.profiler.kineto_results.events():  # pyright: ignore[reportOptionalMemberAccess]
        if event.name() == "[memory]":
            held += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
            most = max(most, held)
    return most


def settle(setting: Setting) -> None:
    if setting.device == "cuda":
        torch.cuda.synchronize()


def milliseconds(seconds: list[float]) -> Spread:
    return Spread.of([1000 * one for one in seconds])
