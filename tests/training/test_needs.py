"""What a run needs: parts that agree with the objects themselves, and refusals that say what fits."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from training import needs
from training.config import SweepConfig, TrainConfig
from training.needs import Job, Passing, check_fits, disk, free_disk, free_memory, job_of, memory, refuse, size
from training.train import begin, open_stream, plans_of, train

LARGE = TrainConfig(sites="resid_post:5,15", latents=16_384, buffer=4_000_000, tokens=10_000_000, k=32)

NOTHING = Passing()


def job(config: TrainConfig | SweepConfig, d_model: int = 576) -> Job:
    return Job(config, tuple(plans_of(config)), d_model, 49_152, 135_000_000)


def free(monkeypatch: pytest.MonkeyPatch, *, bytes_of_memory: int = 10**15, bytes_of_disk: int = 10**15) -> None:
    monkeypatch.setattr(needs, "free_memory", lambda *_: bytes_of_memory)
    monkeypatch.setattr(needs, "free_disk", lambda _: bytes_of_disk)


def refusal(workspace: Workspace, wanted: Job, passing: Passing = NOTHING) -> str:
    with pytest.raises(Mistake) as caught:
        refuse(workspace, wanted, passing, free=needs.free_memory())
    return str(caught.value)


def test_the_parts_are_what_the_objects_take(small: TrainConfig, subject: Subject) -> None:
    config = replace(small, architecture="batchtopk,topk", tokens=6000)
    wanted = plans_of(config)
    state = begin(config, open_stream(config, subject, wanted), wanted)
    made = job_of(config, subject, wanted)
    assert made.reservoir == state.reservoir.memory
    tensors = [w for stack in state.stacks for w in stack.weights.values()]
    matrices = [w for w in tensors if w.dim() == 3]
    assert made.weights == sum(w.numel() * w.element_size() for w in matrices)
    biases = sum(w.numel() * w.element_size() for w in tensors) - made.weights
    assert biases < made.weights * 3 / 64  # d_in + d_out = 64 numbers a latent, against a bias or two


def test_a_short_run_never_fills_its_reservoir() -> None:
    short = replace(LARGE, tokens=100_000)
    assert job(short).reservoir == (100_000 // 256) * 256 * (2 * 576 * 2 + 8) + 4_000_000 * 8


def test_more_of_anything_takes_more(subject: Subject) -> None:
    base = memory(job(LARGE)).peak
    more: list[dict[str, Any]] = [{"buffer": 5_000_000}, {"latents": 32_768}, {"sites": "resid_post:5,10,15"}]
    for change in (*more, {"precision": "fp32"}):
        assert memory(job(replace(LARGE, **change))).peak > base, change
        assert disk(job(replace(LARGE, **change))).peak > disk(job(LARGE)).peak, change
    assert disk(job(replace(LARGE, keep=5))).peak > disk(job(LARGE)).peak
    assert memory(job(LARGE), Passing(training=10**9)).peak == base + 10**9


def test_the_end_of_a_run_is_a_peak_too() -> None:
    """A small buffer does not help when the subject in fp32 and its logits take more."""
    small = memory(job(replace(LARGE, buffer=1024, latents=64)))
    assert small.peak == small.dictionaries + small.end > small.reservoir + small.dictionaries


@pytest.mark.parametrize("share", [0.95, 0.7])
def test_the_buffer_that_is_advised_fits_and_is_nearly_the_largest(
    share: float, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = job(LARGE)
    limit = int(memory(wanted).peak * share)
    free(monkeypatch, bytes_of_memory=limit)
    said = refusal(workspace, wanted)
    assert said.startswith(f"Training would need {size(memory(wanted).peak)} of memory, and {size(limit)} are free.")
    advised = int(re.search(r"It fits with --buffer (\d+) or less\.$", said)[1])  # pyright: ignore
    refuse(workspace, job(replace(LARGE, buffer=advised)), Passing(), free=needs.free_memory())
    assert "would need" in refusal(workspace, job(replace(LARGE, buffer=int(advised * 1.05))))


def test_where_no_buffer_helps_fewer_latents_are_advised(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = replace(LARGE, latents=200_000)
    free(monkeypatch, bytes_of_memory=6 * 10**9)
    said = refusal(workspace, job(wide))
    advised = int(re.search(r"No buffer is small enough; it fits with --latents (\d+) and --buffer 256", said)[1])  # pyright: ignore
    refuse(workspace, job(replace(wide, latents=advised, buffer=256)), Passing(), free=needs.free_memory())
    refusal(workspace, job(replace(wide, latents=int(advised * 1.05), buffer=256)))


def test_where_nothing_helps_it_says_so(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, bytes_of_memory=10**6)
    assert refusal(workspace, job(LARGE)).endswith(
        "Not even one latent fits: choose fewer sites, a smaller model, or a larger machine."
    )


def test_a_disk_too_small_is_refused_with_what_would_fit(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = disk(job(LARGE)).peak
    free(monkeypatch, bytes_of_disk=int(needed * 0.9))
    said = refusal(workspace, job(LARGE))
    assert said == (
        f"Training would need {size(needed)} of disk space for checkpoints and dictionaries, and {size(needed * 0.9)} "
        f"are free. It fits with --keep 1. Or free some, or use another --workspace than {str(workspace.folder)!r}."
    )
    free(monkeypatch, bytes_of_disk=int(needed * 0.4))
    advised = int(re.search(r"It fits with --keep 1 and --buffer (\d+) or less", refusal(workspace, job(LARGE)))[1])  # pyright: ignore
    refuse(workspace, job(replace(LARGE, keep=1, buffer=advised)), Passing(), free=needs.free_memory())
    free(monkeypatch, bytes_of_disk=10**6)
    assert "train fewer or narrower dictionaries" in refusal(workspace, job(LARGE))


def test_a_run_that_fits_is_let_be(small: TrainConfig, subject: Subject, workspace: Workspace) -> None:
    check_fits(workspace, small, subject, plans_of(small))


def test_a_run_that_cannot_fit_leaves_nothing(
    small: TrainConfig, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, bytes_of_memory=10**6)
    with pytest.raises(Mistake, match=r"would need \d+ MB of memory, and 1 MB are free"):
        train(workspace, small)
    assert sorted(path.name for path in workspace.folder.iterdir()) == ["lacewing.duckdb", "lacewing.duckdb.lock"]
    with workspace.read() as db:
        assert db.execute("select count(*) from runs").fetchall() == [(0,)]


def test_disk_is_what_a_run_writes(small: TrainConfig, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from training import checkpoint

    seen: list[int] = []
    save = checkpoint.save

    def measured(folder: Path, state: checkpoint.State, *, keep: int) -> Path:
        made = save(folder, state, keep=keep)
        seen.append(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()))
        return made

    monkeypatch.setattr(checkpoint, "save", measured)
    config = replace(small, keep=2, buffer=3072)
    made = train(workspace, config)
    announced = disk(Job(config, tuple(plans_of(config)), 32, 900, 0))
    # The announcement has room for one more, which is being written, and for rows that wait; it lacks biases.
    assert 0.55 * announced.checkpoints < max(seen) < announced.checkpoints
    stored = sum(p.stat().st_size for d in made for p in (workspace.folder / "dictionaries" / d).iterdir())
    assert announced.dictionaries < stored < 1.2 * announced.dictionaries  # biases and cfg.json, at 64 latents


def test_what_is_free_is_known_here(tmp_path: Path) -> None:
    known = free_memory()
    assert known is None or 0 < known < 10**15
    assert free_disk(tmp_path / "not" / "made" / "yet") == pytest.approx(free_disk(tmp_path), rel=0.1)
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(("count", "text"), [(3.14e9, "3.1 GB"), (2.7e8, "270 MB"), (1000, "1 kB")])
def test_sizes_as_a_person_reads_them(count: float, text: str) -> None:
    assert size(count) == text
