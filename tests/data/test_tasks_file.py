"""A person's own pairs: what a file may say, and a sentence for what it may not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import tasks
from data.errors import Mistake
from data.tasks import _file
from data.words import Pair


def tokenize(text: str) -> list[int]:
    """Words and marks with the space before them, by content."""
    return [sum(map(ord, word)) * 31 + len(word) for word in re.findall(r" ?\w+| ?[^\w\s]|\s", text)]


def jsonl(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return str(path)


def pairs(path: str, seed: int = 0) -> list[Pair]:
    tasks.check(path)
    return list(tasks.pairs(path, tokenize, prefix=(5,), seed=seed))


FULL = {"prompt": "The keys", "answer": " are", "counterfactual": "The key", "counter_answer": " is"}


def test_the_two_kinds_of_file_say_the_same(tmp_path: Path) -> None:
    one = jsonl(tmp_path / "one.jsonl", FULL, {**FULL, "prompt": "The dogs", "counterfactual": "The dog"})
    two = tmp_path / "two.csv"
    two.write_bytes(
        b"\xef\xbb\xbfprompt,answer,counterfactual,counter_answer\r\n"
        b'The keys, are,The key, is\r\n"The dogs"," are","The dog"," is"\r\n'
    )
    assert pairs(one) == pairs(str(two))
    first = next(pair for pair in pairs(one) if pair.text == "The keys")
    assert first.counter_text == "The key"
    assert first.roles == first.counter_roles == ("prefix", "token 1", "token 2")
    assert [first.clean, first.counterfactual] == [(5, *tokenize(text)) for text in ("The keys", "The key")]
    assert [first.answer, first.counter_answer] == tokenize(" are") + tokenize(" is")


def test_a_prompt_alone(tmp_path: Path) -> None:
    (pair,) = pairs(jsonl(tmp_path / "alone.jsonl", {"prompt": "The keys", "answer": " are"}))
    assert not pair.paired
    assert pair.answer == pair.counter_answer


def test_marks_are_roles(tmp_path: Path) -> None:
    row = {
        "prompt": "{subject: The old key} near the {noun:cabinet} {end:there}",
        "counterfactual": "{subject:Keys} near the {noun:big cabinets} {end:there}",
        "answer": " is", "counter_answer": " are",
    }  # fmt: skip
    (pair,) = pairs(jsonl(tmp_path / "marked.jsonl", row))
    assert pair.text == "The old key near the cabinet there"
    subject, noun = ("subject",), ("noun",)
    assert pair.roles == ("prefix", *3 * subject, "after subject", "after subject", *noun, "end")
    assert pair.counter_roles == ("prefix", *subject, "after subject", "after subject", *2 * noun, "end")


def test_a_brace_may_be_text(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "code.jsonl", {"prompt": 'f { "a": 1 } {{b: 2} {role:x} {}', "answer": " y"})
    (pair,) = pairs(path)
    assert pair.text == 'f { "a": 1 } {b: 2} x {}'
    assert list(dict.fromkeys(pair.roles)) == ["prefix", "start", "role", "after role"]


word = st.text("abcxyz", min_size=1, max_size=5)
stretch = st.lists(word, min_size=1, max_size=3).map(" ".join)


@given(st.lists(st.tuples(stretch, st.booleans()), min_size=1, max_size=6))
def test_marks_take_nothing_from_the_text(stretches: list[tuple[str, bool]]) -> None:
    """Whatever is marked, the prompt reads the same, and a mark's role holds its text."""
    marked = " ".join(f"{{r{i}:{text}}}" if mark else text for i, (text, mark) in enumerate(stretches))
    roles, pieces = _file._pieces("here", marked)
    assert "".join(pieces) == " ".join(text for text, _ in stretches)
    told = dict(zip(roles, pieces, strict=True))
    for number, (text, mark) in enumerate(stretches):
        if mark:
            assert told[f"r{number}"].strip() == text


def test_prompts_of_unequal_length_without_marks_have_one_role(tmp_path: Path) -> None:
    found = pairs(jsonl(tmp_path / "ragged.jsonl", FULL, {**FULL, "prompt": "The old dogs"}))
    assert {role for pair in found for role in pair.roles} == {"prefix", "text"}


def test_equal_rows_are_one_pair_and_the_seed_sets_the_order(tmp_path: Path) -> None:
    rows = [{**FULL, "prompt": f"The {w}s", "counterfactual": f"The {w}"} for w in ("a", "b", "c", "d", "e")]
    path = jsonl(tmp_path / "rows.jsonl", *rows, *rows)
    assert len(pairs(path)) == 5
    assert pairs(path, 1) != pairs(path, 2)
    assert set(pairs(path, 1)) == set(pairs(path, 2))
    assert pairs(path, 1) == pairs(jsonl(tmp_path / "turned.jsonl", *rows[::-1]), 1)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "mine.jsonl", FULL)
    before = tasks.digest_of(path)
    assert before == tasks.digest_of(jsonl(tmp_path / "copy.jsonl", FULL))
    assert before != tasks.digest_of(jsonl(tmp_path / "mine.jsonl", FULL, FULL))
    assert tasks.name_of(path) == "mine"
    assert (tasks.name_of("agreement"), tasks.digest_of("agreement")) == ("agreement", "")


BAD = [
    ("x.jsonl", "", r"The file '.*x.jsonl' holds no pairs. Give each a line with prompt and answer."),
    ("x.csv", "prompt,answer\n", r"holds no pairs"),
    ("x.jsonl", "\n{", r"x.jsonl, line 2 is not JSON: .*Give each pair a line of its own"),
    ("x.jsonl", "[" * 100_000, r"x.jsonl, line 1 is not JSON"),
    ("x.jsonl", '["a"]', r'x.jsonl, line 1 should be an object: {"prompt"'),
    ("x.jsonl", '{"prompt": "a"}', r"x.jsonl, line 1 lacks answer. A pair has prompt and answer, and may have counterf"),
    ("x.csv", "prompt,answer\na, b\n\nc,\n", r"x.csv, line 4 lacks answer"),
    ("x.csv", "prompt,answr\na,b\n", r"There is no field in x.csv, line 2: 'answr'. Did you mean 'answer'\?"),
    ("x.csv", "prompt,answer\na,b,c\n", r"x.csv, line 2 has more columns than the first line names. Put texts with comm"),
    ("x.csv", 'prompt,answer\n"a,b\n', r"x.csv, line \d is not CSV"),
    ("x.jsonl", '{"prompt": "a", "answer": 4}', r"x.jsonl, line 1 has 4 as answer; it should be text, in quotes"),
    ("x.jsonl", '{"prompt": "\\ud800", "answer": " b"}', r"line 1 has half a character \(a lone surrogate\) in its prompt"),
    ("x.csv", "prompt,answer,counter_answer\na, b, b\n", r"line 2 has ' b' as answer and as counter_answer"),
    ("x.csv", "prompt,answer,counterfactual\na, b,a\n", r"line 2 has its prompt as counterfactual too"),
    ("x.csv", "prompt,answer,counterfactual\na, b,c\nd, b,\n", r"line 3 has no counterfactual, but x.csv, line 2 has one"),
    ("x.csv", "prompt,answer,counter_answer\na, b,\nd, b, c\n", r"line 2 has no counter_answer, but x.csv, line 3 has"),
    ("x.csv", "prompt,answer\na {s:b}, c\nd {t:e}, c\n", r"line 3 has the roles start, t, but x.csv, line 2 has start, s"),
    ("x.csv", "prompt,answer,counterfactual\n{s:b}, c,{t:e}\n", r"the roles s in its prompt and t in its counterfactual"),
    ("x.csv", "prompt,answer\n{s:a} and {s:b}, c\n", r"gives the role 's' twice, .* name each role once, such as s1 and"),
    ("x.csv", "prompt,answer\n{prefix:a} b, c\n", r"gives the role 'prefix' twice, or it is the model's own"),
    ("x.csv", "prompt,answer\n{s:a b, c\n", r"line 2: '{s:a b' is no mark of a role. Write {s:its text}, or {{s: where"),
    ("x.csv", "prompt,answer\n{s: } b, c\n", r"'{s: }' is no mark of a role"),
    ("x.csv", "prompt,answer\nThe key, is not\n", r"x.csv, line 2: The answer ' is not' is 2 tokens of this model after"),
    ("x.csv", "prompt,answer\nThe {s:ke}y, is\n", r"x.csv, line 2: In 'The key' the piece ' ke' ends within a token"),
    ("x.csv", "prompt,answer\nThe key,s\n", r"line 2: The answer 's' does not begin with a token of its own after"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_what_a_file_may_not_say(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(Mistake, match=message):
        pairs(str(tmp_path / name))


def test_files_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="The file of pairs '.*none.jsonl' cannot be read: No such file or directory"):
        pairs(str(tmp_path / "none.jsonl"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(Mistake, match="cannot be read: Is a directory"):
        pairs(str(tmp_path / "folder.csv"))
    (tmp_path / "latin.csv").write_bytes("prompt,answer\né, b\n".encode("latin-1"))
    with pytest.raises(Mistake, match=r"'.*latin.csv' is not text in UTF-8; save it as that"):
        pairs(str(tmp_path / "latin.csv"))
    (tmp_path / "pairs.json").write_text("[]")
    with pytest.raises(Mistake, match=r"is a file, but no file of pairs: the name of one ends in .jsonl or .csv"):
        tasks.check(str(tmp_path / "pairs.json"))
    with pytest.raises(Mistake, match="would be stored as the task 'agreement', which is another; rename it"):
        tasks.check(jsonl(tmp_path / "agreement.jsonl", FULL))
