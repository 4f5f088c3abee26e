"""Texts: documents, splits that do not leak, blocks that lose nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import Mistake
from data.models import Subject
from data.texts import NEIGHBOURS, PASSAGE, blocks, documents, passages


def test_the_sample_is_whole_and_split() -> None:
    found = list(documents())
    assert len(found) > 1000
    share = sum(d.split == "heldout" for d in found) / len(found)
    assert 0.2 < share < 0.4
    assert [d.number for d in found] == list(range(len(found)))
    assert list(documents(split="heldout")) == [d for d in found if d.split == "heldout"]


def test_neighbouring_passages_share_their_split() -> None:
    by_neighbourhood: dict[int, set[str]] = {}
    for document in documents():
        by_neighbourhood.setdefault(document.number // NEIGHBOURS, set()).add(document.split)
    assert all(len(splits) == 1 for splits in by_neighbourhood.values())


def test_passages_lose_nothing() -> None:
    text = "\n\n".join(
        f"Line {n} of a paragraph that goes on for a while, and then\nends here. {n}" for n in range(200)
    )
    cut = list(passages(text))
    assert "".join(" ".join(cut).split()) == "".join(text.split())
    assert all(len(p) >= PASSAGE for p in cut[:-1])


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "parquet"])
def test_own_files(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"own.{suffix}"
    if suffix == "txt":
        file.write_text("one\n\ntwo")
    elif suffix == "jsonl":
        file.write_text("\n".join(json.dumps({"text": t}) for t in ("one", "two")))
    else:
        pq.write_table(pa.table({"text": ["one", "two"]}), file)
    assert " ".join(d.text for d in documents(str(file))).split() == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"", "holds no text"),
        ("a.txt", b"\xff\xfe\x00", "is not UTF-8 \\(byte 0\\)"),
        ("a.txt", b"abc\x00def", "is binary"),
        ("a.jsonl", b'{"text": "a"}\n{"txt": 1}', 'Line 2 of .* has no "text"'),
        ("a.jsonl", b"{", "Line 1 of .* is not JSON"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Mistake, match=said):
        list(documents(str(tmp_path / name)))


def test_a_missing_file_and_a_wrong_column(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="is not a file. Give a .txt, .jsonl or .parquet"):
        list(documents("nowhere.txt"))
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(Mistake, match="it needs one called 'text'"):
        list(documents(str(tmp_path / "a.parquet")))


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
