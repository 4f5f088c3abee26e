"""Harvesting against brute force, and after being killed."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from autointerp import harvest as room
from autointerp import choosing, reading, shards
from autointerp.config import HarvestConfig
from autointerp.shards import Files, ranges
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.texts import documents
from data.words import Site
from training.dictionary import Dictionary

LATENTS = 24


class Random:
    """Stands for sae-lens' object: a random ReLU dictionary whose last latent never fires."""

    def __init__(self, seed: int, width: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.W_dec = torch.randn(LATENTS, width, generator=draw)
        self.bias = torch.full((LATENTS,), -6.0)
        self.bias[-1] = -1e6

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.W_dec.T + self.bias)


@pytest.fixture
def dictionaries(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> dict[str, Dictionary]:
    made = {
        f"d{layer}": Dictionary(f"d{layer}", f"d{layer}", subject.digest, Site(layer), LATENTS, subject.d_model,
                                Random(layer, subject.d_model))
        for layer in (0, 1)
    }  # fmt: skip
    monkeypatch.setattr(room, "load_dictionary", lambda _, name: made[name])
    monkeypatch.setattr(room, "dictionaries_of", lambda *_: {d.site: name for name, d in made.items()})
    monkeypatch.setattr(choosing, "CHUNK", 300)
    return made


@pytest.fixture
def text(tmp_path: Path) -> str:
    """Documents of very different lengths, one of them longer than several blocks."""
    sentences = ["The keys to the cabinet are here. ", "A dog near the boys is loud. ", "One, two, three!\n"]
    rows = [{"text": "".join(sentences[(n + k) % 3] for k in range(1 + n % 9)) + f"Note {n}."} for n in range(60)]
    rows.append({"text": "The pictures by the artist were sold. " * 40})
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.fixture
def config(tiny_model: Path, text: str) -> HarvestConfig:
    return HarvestConfig(model=str(tiny_model), text=text, tokens=10_000, context=32, batch=4, precision="fp32")


def read(workspace: Workspace, harvest: str, dictionary: str) -> pa.Table:
    return pa.concat_tables([pq.read_table(p) for p in Files(workspace, harvest).parts(dictionary)])


@torch.no_grad()
def brute_force(subject: Subject, dictionary: Dictionary, text: str, context: int) -> dict[tuple[int, int, int], float]:
    """Every activation, one block at a time, by (latent, document, position)."""
    found = {}
    room_for = context - len(subject.prefix)
    for document in documents(text, split="heldout"):
        ids = subject.tokenize(document.text)
        for start in range(0, len(ids), room_for):
            block = [*subject.prefix, *ids[start : start + room_for]]
            value = subject.read(torch.tensor([block]), [dictionary.site])[dictionary.site][0, len(subject.prefix) :]
            active = dictionary.encode(value)
            active[value.norm(dim=-1) > dictionary.massive_norm] = 0
            for position, latent in active.nonzero().tolist():
                found[latent, document.number, start + position] = float(active[position, latent])
    return found


def test_equals_brute_force_sorted_without_duplicates(
    workspace: Workspace, subject: Subject, dictionaries: dict[str, Dictionary], config: HarvestConfig, text: str
) -> None:
    made = room.harvest(workspace, config)
    for name, dictionary in dictionaries.items():
        table = read(workspace, made.harvest, name)
        keys = list(zip(*(table.column(c).to_pylist() for c in ("latent", "document", "position")), strict=True))
        expected = brute_force(subject, dictionary, text, config.context)
        assert len(expected) > 500
        assert keys == sorted(set(keys))
        assert set(keys) == set(expected)
        # fp32, but batches and padding change the order of summation: 1e-4 of values of order 1 to 10.
        np.testing.assert_allclose(table.column("value").to_numpy(), [expected[k] for k in keys], rtol=1e-4, atol=1e-4)


def test_massive_tokens_are_left_out(
    workspace: Workspace,
    subject: Subject,
    dictionaries: dict[str, Dictionary],
    config: HarvestConfig,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dictionary was not trained on them, and its largest activations would be all theirs."""
    name, dictionary = next(iter(dictionaries.items()))
    whole = brute_force(subject, dictionary, text, config.context)
    ids = [[*subject.prefix, *subject.tokenize(d.text)[:20]] for d in documents(text, split="heldout")][:1]
    norms = subject.read(torch.tensor(ids), [dictionary.site])[dictionary.site][0, 1:].norm(dim=-1)
    monkeypatch.setattr(Dictionary, "massive_norm", float(norms.median()))
    made = room.harvest(workspace, config)
    table = read(workspace, made.harvest, name)
    keys = set(zip(*(table.column(c).to_pylist() for c in ("latent", "document", "position")), strict=True))
    assert keys == set(brute_force(subject, dictionary, text, config.context))
    assert 0 < len(keys) < len(whole)


def test_statistics_are_those_of_the_activations(
    workspace: Workspace, subject: Subject, dictionaries: dict[str, Dictionary], config: HarvestConfig, text: str
) -> None:
    made = room.harvest(workspace, config)
    expected = brute_force(subject, dictionaries["d1"], text, config.context)
    with workspace.read() as db:
        rows = db.execute("select latent, density, max_activation, statistics from features "
                          "where dictionary = 'd1' order by latent").fetchall()  # fmt: skip
    assert [row[0] for row in rows] == list(range(LATENTS))
    for latent, density, largest, statistics in rows:
        values = [v for (n, _, _), v in expected.items() if n == latent]
        found = json.loads(statistics)
        assert found["firings"] == len(values) == sum(found["histogram"]["counts"])
        assert density == pytest.approx(len(values) / made.tokens)
        assert largest == pytest.approx(max(values, default=0.0), rel=1e-4, abs=1e-4)  # as above
        assert found["harvest"] == made.harvest
        assert len(found["top_logits"]) == 10
    assert rows[-1][1] == 0


def test_lift_is_the_ratio_of_shares(
    workspace: Workspace, subject: Subject, dictionaries: dict[str, Dictionary], config: HarvestConfig, text: str
) -> None:
    made = room.harvest(workspace, config)
    tokens = pa.concat_tables(
        [pq.read_table(p) for p in sorted(Files(workspace, made.harvest).tokens(0).parent.iterdir())]
    )
    spelled = dict(zip(tokens.column("document").to_pylist(), tokens.column("text").to_pylist(), strict=True))
    everything = [t for row in spelled.values() for t in row]
    table = read(workspace, made.harvest, "d0").to_pylist()
    fired = [spelled[r["document"]][r["position"]] for r in table if r["latent"] == 3]
    with workspace.read() as db:
        ((statistics,),) = db.execute(
            "select statistics from features where dictionary = 'd0' and latent = 3").fetchall()  # fmt: skip
    for token, lift, count in json.loads(statistics)["lift"]:
        assert count == fired.count(token)
        ratio = count / len(fired) / (everything.count(token) / len(everything))
        assert lift == pytest.approx(ratio, abs=1e-3)  # stored with three decimals


def test_tokens_are_whole_documents_in_two_disjoint_halves(
    workspace: Workspace, subject: Subject, dictionaries: dict[str, Dictionary], config: HarvestConfig, text: str
) -> None:
    made = room.harvest(workspace, config)
    rows = [
        r
        for p in sorted(Files(workspace, made.harvest).tokens(0).parent.iterdir())
        for r in pq.read_table(p).to_pylist()
    ]
    held = {d.number: d.text for d in documents(text, split="heldout")}
    assert {r["document"]: "".join(r["text"]) for r in rows} == held
    halves = {half: {held[r["document"]] for r in rows if r["half"] == half} for half in ("explain", "score")}
    assert halves["explain"]
    assert halves["score"]
    assert not halves["explain"] & halves["score"]
    assert sum(len(r["ids"]) for r in rows) == made.tokens


def test_stopped_and_run_again_is_as_never_stopped(
    workspace: Workspace, tmp_path: Path, dictionaries: dict[str, Dictionary], config: HarvestConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write, calls = reading._write_chunk, []

    def stops(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "_write_chunk", stops)
    with pytest.raises(KeyboardInterrupt):
        room.harvest(workspace, config)
    with workspace.read() as db:
        assert db.execute("select count(*) from harvests").fetchall() == [(0,)]
        assert db.execute("select status from runs").fetchall() == [("stopped",)]
    made = room.harvest(workspace, config)
    resumed = len(calls)
    whole = room.harvest(other := Workspace.open(tmp_path / "other", create=True), config)
    chunks = len(calls) - resumed
    assert chunks > 2
    assert resumed == chunks + 1  # one chunk was there already, one was begun twice
    for name in dictionaries:
        assert read(workspace, made.harvest, name).equals(read(other, whole.harvest, name))
    assert not Files(workspace, made.harvest).scratch.exists()


def test_a_second_harvest_reuses_the_first(
    workspace: Workspace, dictionaries: dict[str, Dictionary], config: HarvestConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = room.harvest(workspace, config)
    monkeypatch.setattr(reading, "_write_chunk", None)
    assert room.harvest(workspace, config) == made


def test_parts_are_cut_by_latent_when_there_is_much(
    workspace: Workspace, dictionaries: dict[str, Dictionary], config: HarvestConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "ROWS", 300)
    made = room.harvest(workspace, config)
    parts = [pq.read_table(p).column("latent").to_numpy() for p in Files(workspace, made.harvest).parts("d0")]
    assert len(parts) > 3
    full = [part for part in parts if len(part)]
    assert all(a.max() < b.min() for a, b in itertools.pairwise(full))


def test_ranges_hold_every_latent_once() -> None:
    assert ranges(np.array([5, 5, 20, 1, 0, 9]), 10) == [range(2), range(2, 3), range(3, 6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": 0}, r"^tokens is 0; it must be at least 1\.$"),
        ({"precision": "fp8"}, r"^precision is 'fp8'; it can be auto, bf16 or fp32\.$"),
    ],
)
def test_contradictions_are_sentences(change: dict, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        HarvestConfig(**change)


def test_a_model_without_dictionaries_is_a_sentence(workspace: Workspace, tiny_model: Path) -> None:
    with pytest.raises(Mistake, match=r"^This workspace has no dictionary of the model .*lacewing train --model"):
        room.harvest(workspace, HarvestConfig(model=str(tiny_model)))


def test_an_unknown_dictionary_is_a_sentence(workspace: Workspace, tiny_model: Path) -> None:
    with pytest.raises(Mistake, match=r"^There is no dictionary 'nope'"):
        room.harvest(workspace, HarvestConfig(model=str(tiny_model), dictionaries="nope"))
