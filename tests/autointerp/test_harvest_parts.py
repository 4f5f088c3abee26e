"""The parts that harvesting is made of: which documents, which entries, which neighbours."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sae_lens import SAE
from sae_lens.saes.gated_sae import GatedSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUSAEConfig
from sae_lens.saes.standard_sae import StandardSAEConfig
from sae_lens.saes.topk_sae import TopKSAEConfig

from autointerp import choosing, encoding, neighbours
from autointerp.choosing import choose
from autointerp.encoding import entries
from autointerp.neighbours import Baskets, alike, together
from autointerp.shards import Activations, sort_stably
from autointerp.statistics import QUANTILES, Summary
from data.errors import Mistake
from data.models import Subject
from data.sources import Hub, Passage
from data.texts import documents
from data.words import Site, digest
from training.dictionary import Dictionary

WIDTH, LATENTS, TOKENS = 16, 100, 40
CONFIGS = {
    "jumprelu": lambda: JumpReLUSAEConfig(d_in=WIDTH, d_sae=LATENTS),
    "standard": lambda: StandardSAEConfig(d_in=WIDTH, d_sae=LATENTS, apply_b_dec_to_input=True),
    "gated": lambda: GatedSAEConfig(d_in=WIDTH, d_sae=LATENTS),
    "topk": lambda: TopKSAEConfig(d_in=WIDTH, d_sae=LATENTS, k=7),
}


def dictionary(kind: str) -> Dictionary:
    draw = torch.Generator().manual_seed(0)
    built: Any = SAE.get_sae_class_for_architecture(kind) if kind in CONFIGS else None
    sae: Any = built(CONFIGS[kind]()) if built else Strange()
    for name, weight in sae.named_parameters() if built else ():
        weight.data = torch.randn(weight.shape, generator=draw) * (0.3 if name == "r_mag" else 1.0)
        if name == "threshold":
            weight.data = weight.data.abs() * 2
    return Dictionary("d", "d", "m", Site(0), LATENTS, WIDTH, sae)


class Strange:
    """Encodes by a rule that nobody knows, with negative activations."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        dense = x.repeat(1, LATENTS // WIDTH + 1)[:, :LATENTS]
        return dense * (dense.abs() > 1)


@pytest.mark.parametrize("kind", [*CONFIGS, "strange"])
@pytest.mark.parametrize("cells", [1 << 20, 1000, 60])
def test_entries_are_the_dense_encoding_without_massive_tokens(
    kind: str, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few numbers a slice of the pre-activations may hold."""
    monkeypatch.setattr(encoding, "CELLS", cells)
    monkeypatch.setattr(Dictionary, "massive_norm", 50.0)
    values = torch.randn(TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))
    values[[0, 17]] *= 100
    one = dictionary(kind)
    dense = one.encode(values).detach()
    dense[[0, 17]] = 0
    found = entries(one, values)
    assert 100 < len(found) < TOKENS * LATENTS
    row, latent = dense.numpy().nonzero()
    assert found.row.tolist() == row.tolist()
    assert found.latent.tolist() == latent.tolist()
    back = torch.zeros_like(dense)
    back[found.row, found.latent] = torch.from_numpy(found.value)
    # a slice is summed in another order than the whole: fp32, sums of 16 products of order 1
    torch.testing.assert_close(back, dense, rtol=1e-5, atol=1e-5)


def test_entries_of_no_token() -> None:
    assert len(entries(dictionary("jumprelu"), torch.zeros(0, WIDTH))) == 0


@pytest.mark.parametrize("greatest", [3, 65_535, 65_536, 2**31 - 1])
def test_sorting_is_stable_and_right_for_any_key(greatest: int) -> None:
    keys = np.random.default_rng(0).integers(0, greatest, 2000, dtype=np.int64, endpoint=True).astype(np.int32)
    keys[:10] = greatest
    assert (sort_stably(keys) == np.argsort(keys, kind="stable")).all()


def test_documents_are_the_first_of_an_order_that_the_seed_draws(subject: Subject, tmp_path: Path) -> None:
    """As if all had been listed and sorted, which is never done."""
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"The keys {n} are here. " * (1 + n % 5)}) for n in range(200)))
    order = sorted(documents(str(path), "heldout"), key=lambda d: digest("harvest", 3, d.number))
    sizes = [len(subject.tokenize(d.text)) for d in order]
    taken = next(n for n, total in enumerate(itertools.accumulate(sizes), 1) if total >= 150)
    chosen = choose(str(path), 150, 3, subject)
    assert chosen.number.tolist() == sorted(d.number for d in order[:taken])
    assert int(chosen.tokens.sum()) == sum(sizes[:taken])
    everything = choose(str(path), 10**9, 3, subject)
    assert len(everything) == len(order)
    assert everything.content != chosen.content != choose(str(path), 150, 4, subject).content


def test_chunks_are_all_documents_in_order(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"The keys {n} are here. " * (1 + n % 5)}) for n in range(100)))
    monkeypatch.setattr(choosing, "CHUNK", 60)
    chosen = choose(str(path), 10**9, 0, subject)
    chunks = list(chosen.chunks(range(chosen.chunk_count)))
    assert [d for chunk in chunks for d in chunk.documents] == list(documents(str(path), "heldout"))
    assert all(sum(len(subject.tokenize(d.text)) for d in chunk.documents) >= 60 for chunk in chunks[:-1])
    assert list(chosen.chunks([2])) == [chunks[2]]
    path.write_text("\n".join(json.dumps({"text": f"Other {n}."}) for n in range(100)))
    with pytest.raises(
        Mistake, match=r"^Document \d+ of the text .* was there a moment ago and is not any more\. Do not"
    ):
        list(chosen.chunks(range(chosen.chunk_count)))


def test_a_dataset_without_an_end_is_read_until_there_is_enough(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def endless(_: Hub, start: int = 0) -> Iterator[Passage | None]:
        for number in itertools.count():
            read.append(number)
            yield Passage(f"The keys {number} are here.", running=False) if number >= start else None

    monkeypatch.setattr(Hub, "passages", endless)
    chosen = choose("owner/endless", 100, 0, subject)
    assert 100 <= chosen.tokens.sum() < 120
    assert max(read) == chosen.number.max()
    assert [d.number for chunk in chosen.chunks([0]) for d in chunk.documents] == chosen.number.tolist()


def baskets(sets: np.ndarray) -> Baskets:
    token, latent = sets.nonzero()
    bounds = np.searchsorted(token, np.arange(len(sets) + 1))
    return Baskets.of(bounds, latent.astype(np.int32), sets.shape[1])


def test_co_activation_of_a_sample_of_firings_is_near_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    sets = draw.random((20_000, 12)) < 0.3
    sets[:, 1] = np.where(draw.random(20_000) < 0.8, sets[:, 0], sets[:, 1])
    exact = (sets[:, 0] & sets[:, 1]).sum() / (sets[:, 0] | sets[:, 1]).sum()
    monkeypatch.setattr(neighbours, "CELLS", 500)  # several blocks
    for looked in (10**6, 1000):
        monkeypatch.setattr(neighbours, "FIRINGS", looked)
        found = list(together(baskets(sets), range(12)))
        assert len(found) == 12
        assert found[0][0][0] == 1
        # of 1,000 firings a share of 0.86 is known within 0.011 (one standard error), the index within 0.02: four of these
        assert found[0][0][1] == pytest.approx(exact, abs=1e-4 if looked > 1000 else 0.08)
    assert list(together(baskets(sets), range(3, 5))) == found[3:5]


def test_latents_that_fire_alone_have_no_neighbours() -> None:
    sets = np.zeros((3, 4), dtype=bool)
    sets[0, [0, 1]] = sets[1, 2] = True
    assert list(together(baskets(sets), range(4))) == [[[1, 1.0]], [[0, 1.0]], [], []]


def test_nearest_in_blocks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    whole = list(alike(rows, range(300)))
    monkeypatch.setattr(neighbours, "CELLS", 1600)  # columns a hundred at a time
    monkeypatch.setattr(neighbours, "BESIDE", 16)
    assert list(alike(rows, range(300))) == whole
    assert list(alike(rows, range(20, 40))) == whole[20:40]
    unit = torch.nn.functional.normalize(rows, dim=-1)
    cosines = (unit @ unit.T).fill_diagonal_(-2)
    assert [[n for n, _ in likeness] for likeness in whole] == cosines.topk(10).indices.tolist()


def test_a_dictionary_of_few_latents_has_fewer_nearest() -> None:
    assert [len(likeness) for likeness in alike(torch.eye(3), range(3))] == [2, 2, 2]


def test_summaries_of_a_range_are_those_of_each_latent() -> None:
    """Against numpy, one latent at a time; latents that fire never, once, and always equally among them."""
    draw = np.random.default_rng(0)
    sizes = [0, 1, 40, 7, 0, 300, 2]
    latent = np.repeat(np.arange(7), sizes).astype(np.int32)
    value = draw.gamma(2.0, size=len(latent)).astype(np.float32)
    value[latent == 3] = 1.5
    document = np.concatenate([np.sort(draw.integers(0, 20, size)) for size in sizes]).astype(np.int32)
    nothing = np.zeros(len(latent), np.int32)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    found = Summary.of(Activations(latent, document, nothing, value, nothing), bounds)
    for place, size in enumerate(sizes):
        own, record = value[latent == place].astype(np.float64), found.record(place)
        assert record["firings"] == size
        assert record["documents"] == len(set(document[latent == place]))
        assert found.largest[place] == max(own, default=0.0)
        if size:
            assert list(record["quantiles"].values()) == np.quantile(own, QUANTILES).round(5).tolist()
            edges = record["histogram"]["edges"]
            assert record["histogram"]["counts"] == np.histogram(own, edges)[0].tolist()
            assert edges[0] <= own.min()
            assert edges[-1] >= own.max()
        else:
            assert record["quantiles"] == {}
            assert record["histogram"] == {"edges": [], "counts": []}


def test_a_summary_of_nothing() -> None:
    empty = np.zeros(0, np.int32)
    found = Summary.of(Activations(empty, empty, empty, np.zeros(0, np.float32), empty), np.zeros(4, np.int64))
    assert [found.record(place)["firings"] for place in range(3)] == [0, 0, 0]
