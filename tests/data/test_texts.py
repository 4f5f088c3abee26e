"""Texts: documents, splits that do not leak, blocks that lose nothing, shelves that are found again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data import texts
from data.models import Subject
from data.texts import NEIGHBOURS, Text, blocks, documents, special_ids
from data.words import digest


def test_the_sample_is_whole_and_split() -> None:
    found = list(documents())
    assert len(found) > 1000
    share = sum(d.split == "heldout" for d in found) / len(found)
    assert 0.2 < share < 0.4
    assert [d.number for d in found] == list(range(len(found)))
    for split in ("heldout", "calibration", "train"):
        assert list(documents(split=split)) == [d for d in found if d.split == split]
    assert 0.02 < sum(d.split == "calibration" for d in found) / len(found) < 0.06


def test_the_samples_held_out_documents_are_the_same_for_ever() -> None:
    """Figures of different versions are comparable only while they are of the same text."""
    assert digest([(d.number, d.text) for d in documents(split="heldout")]) == "c73dc5a90f5c6ea5"


def test_neighbouring_passages_share_their_split() -> None:
    by_neighbourhood: dict[int, set[str]] = {}
    for document in documents():
        by_neighbourhood.setdefault(document.number // NEIGHBOURS, set()).add(document.split)
    assert all(len(splits) == 1 for splits in by_neighbourhood.values())


def test_blocks_hold_every_token_once(subject: Subject) -> None:
    some = list(documents(split="heldout"))[:3]
    cut = blocks(some, subject.tokenizer, context=16, prefix=subject.prefix)
    for document in some:
        mine = np.flatnonzero(cut.document == document.number)
        ids = [t for row in mine for t in cut.tokens[row, cut.prefix : cut.length[row]].tolist()]
        assert ids == subject.tokenize(document.text)
        assert cut.start[mine].tolist() == [15 * n for n in range(len(mine))]
    assert (cut.tokens[:, 0] == subject.prefix[0]).all()
    assert cut.tokens_without_prefix == sum(len(subject.tokenize(d.text)) for d in some)


def test_a_limit_is_kept_to_whole_documents(subject: Subject) -> None:
    cut = blocks(documents(), subject.tokenizer, context=32, prefix=subject.prefix, limit=1)
    assert set(cut.document.tolist()) == {0}


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred documents of different lengths, the last of them empty."""
    path = tmp_path_factory.mktemp("long") / "long.jsonl"
    rows = [f"The man near the {n} cars walks here. " * (1 + n % 7) for n in range(99)]
    path.write_text("\n".join(json.dumps({"text": row}) for row in [*rows, ""]))
    return path


def test_shelves_together_are_the_text(long: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "SHELF", 40)
    text = Text(str(long), subject.tokenizer, 16, subject.prefix)
    whole = text.blocks("train")
    start: int | None = 0
    shelves = []
    while start is not None:
        shelves.append(text.shelf(start))
        assert text.shelf(start).blocks.document.min() >= start
        start = shelves[-1].following
    assert len(shelves) > 3
    assert all(40 <= len(shelf.blocks) < 40 + 10 for shelf in shelves[:-1])  # whole documents, of up to 10 blocks
    for name in ("tokens", "length", "document", "start"):
        assert np.array_equal(np.concatenate([getattr(s.blocks, name) for s in shelves]), getattr(whole, name))


def test_a_shelf_is_found_without_tokenising_what_is_before_it(long: Path, subject: Subject) -> None:
    seen: list[str] = []

    def tokenizer(batch: list[str], *, add_special_tokens: bool) -> dict[str, list[list[int]]]:
        seen.extend(batch)
        return subject.tokenizer(batch, add_special_tokens=add_special_tokens)

    shelf = Text(str(long), tokenizer, 16, subject.prefix).shelf(90)
    assert seen
    assert seen == [d.text for d in documents(str(long), "train", 90)]
    assert shelf.following is None
    assert set(shelf.blocks.document.tolist()) <= set(range(90, 100))


def test_special_tokens_in_a_text_are_not_real(tmp_path: Path, subject: Subject) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps({"text": "The man<|endoftext|> walks here."}))
    cut = Text(str(path), subject.tokenizer, 32, subject.prefix).blocks(next(documents(str(path))).split)
    end = subject.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert cut.special == special_ids(subject.tokenizer) == (end,)
    inside = slice(cut.prefix, int(cut.length[0]))
    assert (cut.tokens[0, inside] == end).sum() == 1  # the tokenizer did read it as one
    assert np.array_equal(cut.real[0, inside], cut.tokens[0, inside] != end)
    assert cut.real.sum() == cut.tokens_without_prefix - 1


def test_blocks_are_joined_and_shortened(subject: Subject) -> None:
    cut = blocks(documents(), subject.tokenizer, context=16, prefix=subject.prefix, limit=2000)
    both = cut[slice(3, 9)] + cut[slice(20, 22)]
    assert np.array_equal(both.tokens, cut.tokens[[3, 4, 5, 6, 7, 8, 20, 21]])
    assert (both.prefix, both.special) == (cut.prefix, cut.special)
    assert 30 <= cut.first(30).tokens_without_prefix < 30 + 15
    assert len(cut.first(10**9)) == len(cut)


def test_an_empty_text_has_no_blocks(subject: Subject) -> None:
    assert len(blocks([], subject.tokenizer, context=16, prefix=subject.prefix)) == 0
