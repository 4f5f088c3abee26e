"""The stream gives what the model gives at real, ordinary tokens, in an order that depends on seed and epoch alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data import texts
from data.errors import Mistake
from data.models import Subject
from data.sources import Passage
from data.texts import Text, documents, split_of
from data.words import Site, parse_sites
from training.reservoir import Rows
from training.stream import (
    MASSIVE,
    PASS,
    Stream,
    calibration_blocks,
    heldout_blocks,
    measure,
    open_stream,
    ordinary,
    read,
    real,
)

SITES = parse_sites("resid_post:0,1")


@pytest.fixture(scope="module")
def text(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Text:
    """Sixty documents of up to twenty blocks, the last of them empty."""
    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    rows = [*(f"The man near the {i} cars walks here. " * (1 + 5 * (i % 4)) for i in range(59)), ""]
    path.write_text("\n".join(json.dumps({"text": row}) for row in rows))
    return Text(str(path), subject.tokenizer, 24, subject.prefix)


@pytest.fixture
def shelves(text: Text, monkeypatch: pytest.MonkeyPatch) -> Text:
    """The same text, on several shelves."""
    monkeypatch.setattr(texts, "SHELF", 30)
    return text


def test_rows_are_the_models_own_without_prefix_and_padding(subject: Subject, text: Text) -> None:
    stream = Stream(subject, text, SITES, seed=3)
    rows = stream.next().values
    expected = []
    blocks = text.blocks("train")
    for index in stream.order(0)[:PASS]:
        length = int(blocks.length[index])
        alone = torch.from_numpy(blocks.tokens[index : index + 1, :length])
        with torch.no_grad():
            value = subject.read(alone, SITES)
        expected.append(torch.stack([value[s][0, blocks.prefix :] for s in SITES], dim=1))
    # fp32 attention over a padded batch against one row alone: rounding only
    torch.testing.assert_close(rows, torch.cat(expected), atol=1e-5, rtol=1e-4)


def every(stream: Stream, epochs: int) -> list[Rows]:
    """The rows of so many epochs."""
    found = []
    while stream.at.epoch < epochs:
        found.append(stream.next())
    return found


def test_epochs_go_through_every_block_and_differ(subject: Subject, text: Text) -> None:
    stream = Stream(subject, text, SITES, seed=3)
    blocks = text.blocks("train")
    assert sum(map(len, every(stream, 1))) == blocks.tokens_without_prefix
    assert stream.epochs == 1
    assert sum(map(len, every(stream, 2))) == blocks.tokens_without_prefix
    assert stream.epochs == 2
    assert sorted(stream.order(0)) == list(range(len(blocks)))
    assert not np.array_equal(stream.order(0), stream.order(1))
    assert not np.array_equal(stream.order(0, 0), stream.order(0, 1))


def test_a_text_of_several_shelves_is_gone_through_all_the_same(subject: Subject, shelves: Text) -> None:
    stream = Stream(subject, shelves, SITES, seed=3)
    assert stream.epochs is None  # nobody knows yet how long the text is
    seen = torch.zeros(60, dtype=torch.long)
    places = set()
    while stream.at.epoch < 1:
        places.add(stream.at.shelf)
        seen += stream.next().document.bincount(minlength=60)
    blocks = shelves.blocks("train")
    assert len(places) > 3
    assert seen.tolist() == np.bincount(blocks.document, blocks.length - blocks.prefix, 60).tolist()
    stream.next()
    assert stream.epochs == 1 + PASS / len(blocks)


def test_the_state_is_all_there_is_to_go_on_from(subject: Subject, shelves: Text) -> None:
    first = Stream(subject, shelves, SITES, seed=1)
    states, rows = [], []
    while first.at.epoch < 2:
        states.append(json.loads(json.dumps(first.state())))
        rows.append(first.next())
    for number in (0, 1, 3, len(rows) // 2, len(rows) - 2):
        again = Stream(subject, shelves, SITES, seed=1)
        again.go_to(states[number])
        for expected in rows[number : number + 2]:
            found = again.next()
            assert torch.equal(found.values, expected.values)
            assert torch.equal(found.document, expected.document)


def test_each_row_knows_its_document(subject: Subject, text: Text) -> None:
    stream = Stream(subject, text, SITES, seed=3)
    seen = sum(rows.document.bincount(minlength=60) for rows in every(stream, 1))
    blocks = text.blocks("train")
    assert isinstance(seen, torch.Tensor)
    assert seen.tolist() == np.bincount(blocks.document, blocks.length - blocks.prefix, 60).tolist()


def test_special_tokens_are_not_handed_out(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "special.jsonl"
    rows = [f"The man<|endoftext|> near the {n} cars walks here." for n in range(20)]
    path.write_text("\n".join(json.dumps({"text": row}) for row in rows))
    text = Text(str(path), subject.tokenizer, 48, subject.prefix)
    stream = Stream(subject, text, SITES, seed=0)
    blocks = text.blocks("train")
    assert sum(map(len, every(stream, 1))) == blocks.tokens_without_prefix - len(blocks)  # one in each
    assert stream.left_out == subject.prefix == (subject.tokenizer.convert_tokens_to_ids("<|endoftext|>"),)


def test_calibration_text_is_neither_trained_nor_judged_on(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"The man near the {n} cars walks here."}) for n in range(400)))
    stream = open_stream(subject, str(path), SITES, context=24, seed=0)
    chosen = calibration_blocks(stream, 60)
    assert 60 <= chosen.tokens_without_prefix < 60 + 24
    splits = {d.number: d.split for d in documents(str(path))}
    assert {splits[d] for d in chosen.document.tolist()} == {"calibration"}
    assert {splits[d] for d in stream.shelf.document.tolist()} == {"train"}
    judged = heldout_blocks(subject, str(path), context=24).document.tolist()
    assert set(judged) == {number for number, split in splits.items() if split == "heldout"}


def test_calibration_is_topped_up_from_the_end_of_training(subject: Subject, text: Text) -> None:
    stream = Stream(subject, text, SITES, seed=0)
    own = text.blocks("calibration")
    wanted = own.tokens_without_prefix + 100
    chosen = calibration_blocks(stream, wanted)
    assert wanted <= chosen.tokens_without_prefix < wanted + 24
    more = chosen[slice(len(own), None)]
    last = stream.shelf[stream.order(0)[::-1][: len(more)]]
    assert np.array_equal(more.tokens, last.tokens)
    assert set(chosen[slice(0, len(own))].document.tolist()) == set(own.document.tolist())


def test_massive_tokens_are_left_out(subject: Subject, text: Text) -> None:
    rows = read(subject, text.blocks("train", limit=100), SITES)
    rows[5, 1] *= 1000
    scales = measure(rows)
    keep = ordinary(rows, scales.limit)
    assert keep.sum() == len(rows) - 1
    assert not keep[5]
    assert torch.allclose(scales.limit, MASSIVE * rows.norm(dim=-1).median(dim=0).values)


def test_scales_give_unit_spread(subject: Subject, text: Text) -> None:
    rows = read(subject, text.blocks("train"), SITES)
    scales = measure(rows)
    scaled = (rows - scales.mean) * scales.scale[:, None]
    torch.testing.assert_close(scaled.square().sum(-1).mean(0), torch.ones(2), atol=1e-4, rtol=0)


def test_real_marks_neither_prefix_nor_padding(text: Text) -> None:
    blocks = text.blocks("train")
    assert torch.equal(real(blocks).sum(dim=1), torch.from_numpy(blocks.length - blocks.prefix).long())
    assert not real(blocks)[:, : blocks.prefix].any()


def test_no_text_is_a_sentence(subject: Subject, tmp_path: Path) -> None:
    heldout = next(f"Text {n}" for n in range(100) if split_of(Passage(f"Text {n}", False), 0) == "heldout")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": heldout}))
    with pytest.raises(Mistake, match="no document in its train split"):
        open_stream(subject, str(tmp_path / "a.jsonl"), SITES, context=24, seed=0)


def test_passes_hold_blocks_of_like_length_and_padding_is_not_run(subject: Subject, small_text: Path) -> None:
    """Every block once, less than half the padding of a plain permutation, and the same activations as untrimmed."""
    stream = open_stream(subject, str(small_text), (Site(0), Site(1)), context=16, seed=3)
    order, length = stream.order(0), stream.shelf.length
    assert sorted(order.tolist()) == list(range(len(length)))

    def run(order: np.ndarray) -> int:
        passes = [length[order[start : start + PASS]] for start in range(0, len(order), PASS)]
        return sum(len(own) * own.max() for own in passes)

    plain = np.random.default_rng(0).permutation(len(length))
    assert run(order) - length.sum() < (run(plain) - length.sum()) / 2
    few = stream.shelf[np.argsort(length)[:5]]
    assert few.trimmed().tokens.shape[1] < few.tokens.shape[1]
    values = subject.read(torch.from_numpy(few.tokens), stream.sites)
    whole = torch.stack([values[site][torch.from_numpy(few.real)] for site in stream.sites], dim=1)
    # fewer columns block the matrix products otherwise: the last bits of fp32
    torch.testing.assert_close(read(subject, few, stream.sites), whole, atol=1e-5, rtol=1e-5)
