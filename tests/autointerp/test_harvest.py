"""What a harvest finds, against brute force."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import harvesting
import numpy as np
import pyarrow as pa
import pytest
import torch
from harvesting import read, tokens

from autointerp import harvest as room
from autointerp.config import HarvestConfig
from data.models import Subject
from data.store import Workspace
from data.texts import documents
from data.words import Site
from training.dictionary import Dictionary


@pytest.fixture
def made(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> dict[str, Dictionary]:
    """Two dictionaries, found in any workspace."""
    found = harvesting.dictionaries(subject.digest, subject.d_model)
    harvesting.put(found, monkeypatch.setattr)
    return found


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(harvesting.write_text(tmp_path_factory.mktemp("text") / "text.jsonl"))


@pytest.fixture
def config(tiny_model: Path, text: str) -> HarvestConfig:
    return harvesting.config(tiny_model, text)


@dataclass(frozen=True)
class Done:
    """A harvest that tests only look at."""

    workspace: Workspace
    result: room.Harvested
    made: dict[str, Dictionary]
    expected: dict[str, dict[tuple[int, int, int], float]]
    """By dictionary, what brute force finds."""

    def statistics(self, dictionary: str) -> list[dict[str, Any]]:
        with self.workspace.read() as db:
            rows = db.execute(
                "select latent, density, max_activation, statistics from features where dictionary = ? order by latent",
                [dictionary],
            ).fetchall()
        return [{"latent": n, "density": d, "max": m} | json.loads(s) for n, d, m, s in rows]


@pytest.fixture(scope="module")
def done(subject: Subject, tiny_model: Path, text: str, tmp_path_factory: pytest.TempPathFactory) -> Done:
    found = harvesting.dictionaries(subject.digest, subject.d_model)
    workspace = Workspace.open(tmp_path_factory.mktemp("done") / "workspace", create=True)
    with pytest.MonkeyPatch.context() as patch:
        harvesting.put(found, patch.setattr)
        result = room.harvest(workspace, harvesting.config(tiny_model, text))
    return Done(
        workspace, result, found, {name: harvesting.brute_force(subject, d, text, 32) for name, d in found.items()}
    )


def keys_of(table: pa.Table) -> list[tuple[int, int, int]]:
    return list(zip(*(table.column(c).to_pylist() for c in ("latent", "document", "position")), strict=True))


def test_equals_brute_force_sorted_without_duplicates(done: Done) -> None:
    for name, expected in done.expected.items():
        table = read(done.workspace, done.result.harvest, name)
        keys = keys_of(table)
        assert len(expected) > 500
        assert keys == sorted(set(keys))
        assert set(keys) == set(expected)
        # fp32, but batches and padding change the order of summation: 1e-4 of values of order 1 to 10.
        np.testing.assert_allclose(table.column("value").to_numpy(), [expected[k] for k in keys], rtol=1e-4, atol=1e-4)


def test_massive_tokens_are_left_out(
    workspace: Workspace, subject: Subject, made: dict[str, Dictionary], config: HarvestConfig, text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A dictionary was not trained on them, and its largest activations would be all theirs."""
    name, dictionary = next(iter(made.items()))
    whole = harvesting.brute_force(subject, dictionary, text, config.context)
    ids = [[*subject.prefix, *subject.tokenize(d.text)[:20]] for d in documents(text, split="heldout")][:1]
    norms = subject.read(torch.tensor(ids), [dictionary.site])[dictionary.site][0, 1:].norm(dim=-1)
    monkeypatch.setattr(Dictionary, "massive_norm", float(norms.median()))
    keys = set(keys_of(read(workspace, room.harvest(workspace, config).harvest, name)))
    assert keys == set(harvesting.brute_force(subject, dictionary, text, config.context))
    assert 0 < len(keys) < len(whole)


def test_special_tokens_in_a_text_are_left_out_but_keep_their_places(
    workspace: Workspace, subject: Subject, made: dict[str, Dictionary], config: HarvestConfig, tmp_path: Path
) -> None:
    """As in training; windows still show the text as it is."""
    word = subject.tokenizer.all_special_tokens[0]
    special = subject.tokenizer.all_special_ids[0]
    made["d0"].sae.bias[:] = -1.0  # so that some latent is active there
    path = tmp_path / "special.jsonl"
    lines = (f"The keys {word} to the cabinet {word} are here. Note {n}." for n in range(20))
    path.write_text("\n".join(json.dumps({"text": line}) for line in lines))
    result = room.harvest(workspace, replace(config, text=str(path)))
    rows = tokens(workspace, result.harvest)
    places = {(row["document"], at) for row in rows for at, token in enumerate(row["ids"]) if token == special}
    assert len(places) == 2 * len(rows) > 0
    expected = harvesting.brute_force(subject, made["d0"], str(path), config.context)
    assert {key for key in expected if key[1:] in places}  # it would fire there
    found = set(keys_of(read(workspace, result.harvest, "d0")))
    assert found == {key for key in expected if key[1:] not in places}
    assert result.tokens == sum(len(row["ids"]) for row in rows) - len(places)


def test_statistics_are_those_of_the_activations(done: Done) -> None:
    rows = done.statistics("d1")
    assert [row["latent"] for row in rows] == list(range(harvesting.LATENTS))
    for row in rows:
        values = [v for (n, _, _), v in done.expected["d1"].items() if n == row["latent"]]
        assert row["firings"] == len(values) == sum(row["histogram"]["counts"])
        assert row["density"] == pytest.approx(len(values) / done.result.tokens)
        assert row["max"] == pytest.approx(max(values, default=0.0), rel=1e-4, abs=1e-4)  # as above
        assert row["harvest"] == done.result.harvest
        assert len(row["top_logits"]) == 10
        for name, level in row["quantiles"].items():
            assert level == pytest.approx(np.quantile(values, float(name)), rel=1e-4, abs=1e-4)
    assert rows[-1]["density"] == 0
    assert rows[-1]["neighbours"] == []


def test_lift_is_the_ratio_of_shares(done: Done) -> None:
    spelled = {row["document"]: row["text"] for row in tokens(done.workspace, done.result.harvest)}
    everything = [t for row in spelled.values() for t in row]
    fired = [spelled[d][at] for n, d, at in done.expected["d0"] if n == 3]
    listed = done.statistics("d0")[3]["lift"]
    assert listed
    for token, lift, count in listed:
        assert count == fired.count(token)
        ratio = count / len(fired) / (everything.count(token) / len(everything))
        assert lift == pytest.approx(ratio, abs=1e-3)  # stored with three decimals


def test_neighbours_are_those_with_the_largest_jaccard_index(done: Done) -> None:
    """There are fewer tokens and firings than are looked at, so the index is exact."""
    sets = [{key[1:] for key in done.expected["d0"] if key[0] == n} for n in range(harvesting.LATENTS)]
    for row in done.statistics("d0"):
        own = sets[row["latent"]]
        index = {n: len(own & other) / len(own | other) for n, other in enumerate(sets) if own & other}
        index.pop(row["latent"], None)
        best = sorted(index, key=lambda n: (-index[n], n))[:10]
        assert [n for n, _ in row["neighbours"]] == best
        assert [j for _, j in row["neighbours"]] == pytest.approx([index[n] for n in best], abs=1e-4)  # four decimals


def test_nearest_are_those_with_the_largest_cosine(done: Done) -> None:
    rows = torch.nn.functional.normalize(done.made["d1"].W_dec, dim=-1).double()
    cosine = (rows @ rows.T).fill_diagonal_(-2)
    for row in done.statistics("d1"):
        best = cosine[row["latent"]].topk(10)
        assert [n for n, _ in row["nearest"]] == best.indices.tolist()
        assert [c for _, c in row["nearest"]] == pytest.approx(best.values.tolist(), abs=1e-4)  # four decimals


def test_tokens_are_whole_documents_in_two_disjoint_halves(done: Done, text: str) -> None:
    rows = tokens(done.workspace, done.result.harvest)
    held = {d.number: d.text for d in documents(text, split="heldout")}
    assert {r["document"]: "".join(r["text"]) for r in rows} == held
    halves = {half: {held[r["document"]] for r in rows if r["half"] == half} for half in ("explain", "score")}
    assert halves["explain"]
    assert halves["score"]
    assert not halves["explain"] & halves["score"]
    assert sum(len(r["ids"]) for r in rows) == done.result.tokens


def test_a_crosscoder_reads_its_sites_side_by_side(
    workspace: Workspace, subject: Subject, made: dict[str, Dictionary], config: HarvestConfig, text: str
) -> None:
    width = 2 * subject.d_model
    made["d1"] = replace(
        made["d1"], d_model=width, reads=(Site(0), Site(1)), writes=(Site(0), Site(1)), sae=harvesting.Random(5, width)
    )
    table = read(workspace, room.harvest(workspace, replace(config, dictionaries="d1,d0")).harvest, "d1")
    ids = next([*subject.prefix, *subject.tokenize(d.text)[: config.context - 1]] for d in documents(text, "heldout"))
    values = subject.read(torch.tensor([ids]), [Site(0), Site(1)])
    dense = made["d1"].encode(torch.cat([values[Site(0)], values[Site(1)]], dim=-1)[0, len(subject.prefix) :])
    first = min(key[1] for key in keys_of(table))
    assert {(n, at) for n, d, at in keys_of(table) if d == first and at < len(dense)} == {
        (n, at) for at, n in dense.nonzero().tolist()
    }
