"""Sources: every format gives the same documents, lazily, from any number on; what cannot be read is a sentence."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data import sources
from data.errors import Mistake
from data.sources import PASSAGE, Hub, find, passages
from data.texts import documents, text_digest

ROWS = [f"Row {n} says something." for n in range(50)]


def jsonl(path: Path, rows: list[str], column: str = "text") -> Path:
    content = "".join(json.dumps({column: row}) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def parquet(path: Path, rows: list[str | None], column: str = "text") -> Path:
    pq.write_table(pa.table({column: rows, "id": list(range(len(rows)))}), path, row_group_size=7)
    return path


def read(path: str | Path, start: int = 0) -> list[str]:
    return [d.text for d in documents(str(path), start=start)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of several formats, and a file that is none of them."""
    folder = tmp_path / "corpus"
    (folder / "deeper").mkdir(parents=True)
    jsonl(folder / "a.jsonl", ROWS[:10])
    jsonl(folder / "b.jsonl.gz", ROWS[10:20])
    parquet(folder / "c.parquet", [*ROWS[20:40]])
    (folder / "deeper" / "d.txt").write_text("\n".join(ROWS[40:]))
    (folder / "README.md").write_text("not text to train on")
    return folder


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("start", [0, 1, 13, 14, 49, 50, 60])
def test_rows_are_documents_from_any_number_on(tmp_path: Path, suffix: str, start: int) -> None:
    path = tmp_path / f"own.{suffix}"
    (parquet if suffix == "parquet" else jsonl)(path, [*ROWS])
    assert read(path, start) == ROWS[start:]
    assert [d.number for d in documents(str(path), start=start)] == list(range(start, 50))


@pytest.mark.parametrize("suffix", ["txt", "txt.gz"])
def test_text_files_are_passages_from_any_number_on(tmp_path: Path, suffix: str) -> None:
    content = "\n".join(f"A line of its own, number {n}." for n in range(1000))
    path = tmp_path / f"own.{suffix}"
    path.write_bytes(gzip.compress(content.encode()) if suffix.endswith("gz") else content.encode())
    found = read(path)
    assert len(found) > 10
    assert "\n".join(found) == content
    assert read(path, 7) == found[7:]


def test_a_folder_is_its_files_in_order(corpus: Path) -> None:
    found = read(corpus)
    assert [*found[:40], *found[40].splitlines()] == ROWS
    for start in (5, 10, 35, 40):
        assert read(corpus, start) == found[start:]


def test_a_column_is_named_after_a_hash(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [*ROWS], column="body")
    jsonl(tmp_path / "a.jsonl", ROWS, column="body")
    assert read(f"{tmp_path}/a.parquet#body") == ROWS
    assert read(f"{tmp_path}/a.jsonl#body") == ROWS
    jsonl(tmp_path / "odd#name.jsonl", ["a"])
    assert read(tmp_path / "odd#name.jsonl") == ["a"]


def test_missing_values_are_empty_documents(tmp_path: Path) -> None:
    assert read(parquet(tmp_path / "a.parquet", ["one", None, "two"])) == ["one", "", "two"]


def test_blank_lines_of_jsonl_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\u2028b"}\n\n{"text": "c"}\n\n')
    assert read(tmp_path / "a.jsonl") == ["a\u2028b", "c"]


def whole(text: str, size: int = PASSAGE) -> list[str]:
    """Passages by the definition, with all of the text at hand."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        own = [line.strip() for line in paragraph.splitlines() if line.strip()]
        prose = own and sum(map(len, own)) < size and np.mean([len(line) for line in own]) > 50
        lines += [" ".join(own)] if prose else own
    found: list[str] = []
    while lines:
        lengths = itertools.accumulate(map(len, lines))
        cut = next((n for n, length in enumerate(lengths, 1) if length >= size), len(lines))
        found.append("\n".join(lines[:cut]))
        lines = lines[cut:]
    return found


@given(st.lists(st.sampled_from(["word " * 12, "x" * 60, "short", " \t", "", "\x0c", "a\x0bb", "é" * 30]), max_size=60))
@example([" ", "word " * 12, "", "", "x" * 60, "short"])
@settings(max_examples=200, deadline=None)
def test_passages_read_in_pieces_are_those_of_the_whole(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert list(passages(text.split("\n"), 100)) == whole(text, 100)


def test_passages_lose_nothing() -> None:
    text = "\n\n".join(
        f"Line {n} of a paragraph that goes on for a while, and then\nends here. {n}" for n in range(200)
    )
    cut = list(passages(text.splitlines()))
    assert "".join(" ".join(cut).split()) == "".join(text.split())
    assert all(len(p) >= PASSAGE for p in cut[:-1])


def test_a_line_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LONGEST", 5000)
    (tmp_path / "a.txt").write_text("word " * 10_000)
    found = read(tmp_path / "a.txt")
    assert max(map(len, found)) <= 5000
    assert "".join("".join(found).split()) == "word" * 10_000


@pytest.mark.parametrize("suffix", ["txt", "txt.gz", "jsonl", "parquet"])
def test_memory_does_not_grow_with_the_text(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times the text takes no more memory than another tenth of the smaller one."""
    monkeypatch.setattr(sources, "BATCH", 4)
    row = "Some words that make a line of text, again and again. " * 800

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.table({"text": [row] * count}), path, row_group_size=8, use_dictionary=False)
        elif suffix == "jsonl":
            jsonl(path, [row] * count)
        else:
            content = "\n".join([row] * count).encode()
            path.write_bytes(gzip.compress(content, 1) if suffix.endswith("gz") else content)
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        arrow = max(pa.total_allocated_bytes() - before for _ in find(str(path)).passages())
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return arrow + traced

    assert peak(200) < peak(40) + 4 * len(row)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"", "The text '.*a.txt' holds no text"),
        ("a.txt", b" \n\n ", "holds no text"),
        ("a.jsonl", b"", "holds no text"),
        ("a.txt", b"\xff\xfe\x00", "is not UTF-8 \\(byte 0\\); convert it first"),
        ("a.txt", b"abc\x00def", "is binary; give a .txt, .jsonl or .parquet file"),
        ("a.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}", "is binary"),
        ("a.txt", b"a" * 3_000_000 + b"\xff", "is not UTF-8 \\(byte 3000000\\)"),
        ("a.txt", b"a" * ((1 << 20) - 1) + "é".encode() + b"\xe9b", f"\\(byte {(1 << 20) + 1}\\)"),
        ("a.txt", b"abc\xc3", "\\(byte 3\\)"),
        (
            "a.jsonl",
            b'{"text": "a"}\n{"txt": 1}',
            'Line 2 of .* has no "text"; write .*, or name the column as .*#COLUMN',
        ),
        ("a.jsonl", b'{"text": "a"}\n\n{"text": 3}', 'Line 3 of .* has no "text"'),
        ("a.jsonl", b"[1]", 'Line 1 of .* has no "text"; write {"text": "..."} on each line\\.'),
        ("a.jsonl", b"{", "Line 1 of .* is not JSON"),
        ("a.txt.gz", b"plain", "is not a whole gzip file: Not a gzipped file"),
        ("a.txt.gz", gzip.compress(b"word " * 1000, mtime=0)[:-12], "is not a whole gzip file: .*end"),
        ("a.parquet", b"PAR1 or so", "cannot be read as Parquet: "),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Mistake, match=said):
        list(documents(str(tmp_path / name)))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        Mistake, match="The text 'nowhere.txt' is not a file or a folder. Give a .txt, .jsonl or .parquet"
    ):
        list(documents("nowhere.txt"))
    for name in ("./no/where", "a/b/c", "plain", "folder/a.jsonl.gz"):
        with pytest.raises(Mistake, match=f"The text '{name}' is not a file or a folder"):
            find(name)
    (tmp_path / "a.md").write_text("x")
    with pytest.raises(Mistake, match=r"has no .txt, .jsonl, .parquet file \(or .gz\) to read text from"):
        list(documents(str(tmp_path)))


def test_wrong_columns(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", [*ROWS], column="body")
    with pytest.raises(Mistake, match=r"has columns \['body', 'id'\]; it needs one called 'text', or name another as"):
        read(path)
    with pytest.raises(Mistake, match="The column 'id' of .* holds int64, not text"):
        read(f"{path}#id")


def test_a_digest_is_of_what_is_read(corpus: Path, tmp_path: Path) -> None:
    before = text_digest(str(corpus))
    assert before == text_digest(str(corpus))
    assert before != text_digest(f"{corpus}#body")
    (corpus / "README.md").write_text("changed, but not read")
    assert before == text_digest(str(corpus))
    jsonl(corpus / "a.jsonl", [*ROWS[:9], "changed"])
    assert before != text_digest(str(corpus))
    with pytest.raises(Mistake, match="is not a file"):
        text_digest("nowhere.txt")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("owner/name", Hub("owner/name", None, "train", None, "text")),
        ("owner/name:en", Hub("owner/name", "en", "train", None, "text")),
        ("owner/name:en:test", Hub("owner/name", "en", "test", None, "text")),
        ("owner/name::test#body", Hub("owner/name", None, "test", None, "body")),
        ("owner/na.me-2_x@v1.0:en#a b", Hub("owner/na.me-2_x", "en", "train", "v1.0", "a b")),
    ],
)
def test_names_of_hub_datasets(name: str, meant: Hub) -> None:
    assert find(name) == meant


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A stand-in for the look-up of names alone: `team/NAME` is a local folder, which `datasets` streams as its own."""
    import datasets
    import huggingface_hub

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    real = datasets.load_dataset
    datasets.disable_progress_bars()

    def load_dataset(path: str, name: str | None, *, revision: str, **options: Any) -> Any:
        assert revision == "c0ffee"
        return real(str(tmp_path / path), name, **options)

    def dataset_info(_: Any, name: str, *, revision: str | None, timeout: float) -> Any:
        return SimpleNamespace(sha="c0ffee" if (tmp_path / name).is_dir() else None)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)

    def make(name: str) -> Path:
        (tmp_path / name).mkdir(parents=True)
        return tmp_path / name

    return make


def test_a_hub_dataset_is_streamed(hub: Callable[[str], Path]) -> None:
    folder = hub("team/books")
    parquet(folder / "train-0.parquet", [*ROWS[:30]])
    parquet(folder / "train-1.parquet", [*ROWS[30:], None])
    parquet(folder / "test-0.parquet", ["held back"])
    assert read("team/books") == [*ROWS, ""]
    for start in (0, 1, 33, 51):
        assert read("team/books", start) == [*ROWS, ""][start:]
    assert read("team/books::test") == ["held back"]
    splits = {d.split for d in documents("team/books")}
    assert splits >= {"train", "heldout"}  # by content: rows of a dataset are no neighbours


def test_a_hub_dataset_has_a_column_and_a_digest(hub: Callable[[str], Path]) -> None:
    jsonl(hub("team/notes") / "train.jsonl", ROWS, column="body")
    assert read("team/notes#body") == ROWS
    with pytest.raises(Mistake, match=r"The dataset 'team/notes' has columns \['body'\]; it needs one called 'text'"):
        read("team/notes")
    names = ("team/notes", "team/notes#body", "team/notes:default", "team/notes::test", "team/other")
    hub("team/other")
    assert len({text_digest(name) for name in names}) == len(names)


def test_columns_of_numbers_and_missing_splits_are_sentences(hub: Callable[[str], Path]) -> None:
    parquet(hub("team/numbers") / "train.parquet", [*ROWS])
    with pytest.raises(Mistake, match="The column 'id' of 'team/numbers' holds int, not text"):
        read("team/numbers#id")
    with pytest.raises(Mistake, match=r"could not be read from the hub \(ValueError: .*split.*Check its name, config"):
        read("team/numbers::validation")


def test_no_network_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there, now or ever
    import huggingface_hub

    real = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: real(endpoint="http://127.0.0.1:9"))
    said = r"The dataset 'owner/name' is no local file or folder, and could not be read from the hub \(Connect.*"
    with pytest.raises(Mistake, match=said + r"Check its name, config and split \(OWNER/NAME:CONFIG:SPLIT\) and the"):
        list(documents("owner/name"))
    with pytest.raises(Mistake, match="could not be read from the hub"):
        text_digest("owner/name")
