"""A person's own pairs, from a .jsonl or a .csv file.

1. Each line of a .jsonl file is an object, each row of a .csv file (its first names the columns) a pair, with the fields
   `prompt` and `answer`, and where wanted `counterfactual` and `counter_answer`. All rows have the same fields.
2. An answer is the text that follows the prompt, as it stands there: after "The keys" it is " are", with the space.
3. `{subject:old key}` in a prompt marks the tokens of a role. What stands before, between and behind marks has a role too,
   `start` or `after subject`. The space before a mark belongs to it. `{{subject:` writes the brace itself.
4. Without marks the tokens are compared by position, if all prompts have one length.

Every complaint names the file and the line.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from data.errors import Mistake, unknown
from data.tasks._template import Template, Tokenize, pair_of
from data.words import UNMARKED, Pair, digest

NEEDED = ("prompt", "answer")
OPTIONAL = ("counterfactual", "counter_answer")
MARK = re.compile(r"(?<!\{)(?P<open>\{+)(?P<role>[A-Za-z][\w -]*):(?P<text>[^{}\n]*)(?P<close>\}?)")


@dataclass(frozen=True)
class Row:
    """A pair as the file has it; `where` names file and line."""

    where: str
    template: Template


def digest_of(path: str) -> str:
    """A digest of the file's content. Raises `Mistake` when it cannot be read."""
    return digest(_bytes(path))


def pairs(path: str, tokenize: Tokenize, *, prefix: Sequence[int], seed: int) -> Iterator[Pair]:
    """The different pairs of the file, shuffled, whatever the order of its rows.

    Raises `Mistake` when a row cannot be used with this tokenizer.
    """
    found = {_pair(row, tokenize, prefix) for row in read(path)}
    known = list(_by_position(sorted(found, key=astuple)))
    random.Random(seed).shuffle(known)
    yield from known


def read(path: str) -> list[Row]:
    """The rows of the file. Raises `Mistake` when it cannot be read, or a row lacks what the others have."""
    rows = [_row(where, fields) for where, fields in _records(path)]
    if not rows:
        raise Mistake(f"The file {path!r} holds no pairs. Give each a line with {' and '.join(NEEDED)}.")
    for row in rows[1:]:
        _same(row, rows[0])
    return rows


def _bytes(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise Mistake(f"The file of pairs {path!r} cannot be read: {error.strerror}.") from error


def _records(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        text = _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Mistake(f"The file of pairs {path!r} is not text in UTF-8; save it as that.") from error
    read_rows = _from_csv if path.lower().endswith(".csv") else _from_jsonl
    yield from read_rows(Path(path).name, text)


def _from_jsonl(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Mistake(f"{where} is not JSON: {error}. Give each pair a line of its own.") from error
        if not isinstance(fields, dict):
            raise Mistake(f'{where} should be an object: {{"prompt": "The keys", "answer": " are"}}.')
        yield where, fields


def _from_csv(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            where = f"{name}, line {reader.line_num}"
            if None in fields:
                raise Mistake(f"{where} has more columns than the first line names. Put texts with commas in quotes.")
            yield where, {key: value or None for key, value in fields.items()}
    except csv.Error as error:
        raise Mistake(f"{name}, line {reader.line_num} is not CSV: {error}.") from error


def _row(where: str, fields: Mapping[str, Any]) -> Row:
    prompt, answer, counterfactual, counter_answer = _texts(where, fields)
    if counter_answer == answer:
        raise Mistake(
            f"{where} has {answer!r} as answer and as counter_answer. Leave counter_answer out, or change it."
        )
    if counterfactual == prompt:
        raise Mistake(f"{where} has its prompt as counterfactual too. Leave counterfactual out, or change it.")
    roles, pieces = _pieces(where, prompt)
    counter_roles, counter_pieces = _pieces(where, counterfactual) if counterfactual else (roles, ())
    if counter_roles != roles:
        raise Mistake(
            f"{where} has the roles {', '.join(roles)} in its prompt and {', '.join(counter_roles)} in its "
            f"counterfactual. Mark the same roles in both, in one order."
        )
    return Row(where, Template(pieces, counter_pieces, roles, answer, counter_answer or answer))


def _texts(where: str, fields: Mapping[str, Any]) -> Sequence[str]:
    """Prompt, answer, counterfactual and its answer, the last two empty where they are left out."""
    for key, value in fields.items():
        if key not in NEEDED + OPTIONAL:
            raise unknown(f"field in {where}:", str(key), NEEDED + OPTIONAL)
        if not isinstance(value, str | None):
            raise Mistake(f"{where} has {json.dumps(value)} as {key}; it should be text, in quotes.")
        if value and any("\ud800" <= character <= "\udfff" for character in value):
            raise Mistake(f"{where} has half a character (a lone surrogate) in its {key}; write it in full.")
    if missing := [name for name in NEEDED if not fields.get(name)]:
        raise Mistake(
            f"{where} lacks {' and '.join(missing)}. A pair has {' and '.join(NEEDED)}, and may have "
            f"{' and '.join(OPTIONAL)}."
        )
    return [fields.get(name) or "" for name in NEEDED + OPTIONAL]


def _pieces(where: str, prompt: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Roles and texts of a prompt's pieces."""
    found = [("", "")]
    end = 0
    for mark in MARK.finditer(prompt):
        before = found[-1][1] + prompt[end : mark.start()]
        end = mark.end()
        if len(mark["open"]) == 2:
            found[-1] = (found[-1][0], before + mark[0][1:])
            continue
        if len(mark["open"]) > 1 or not mark["close"] or not mark["text"].strip():
            raise Mistake(
                f"{where}: {mark[0]!r} is no mark of a role. Write {{{mark['role']}:its text}}, "
                f"or {{{{{mark['role']}: where the brace is part of the prompt."
            )
        text = mark["text"].strip(" ")
        found[-1:] = [(found[-1][0], before), (mark["role"].strip(), text), (f"after {mark['role'].strip()}", "")]
    found[-1] = (found[-1][0], found[-1][1] + prompt[end:])
    return _named(where, found)


def _named(where: str, found: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The pieces that have text, spaces at their ends given to the next one; and the name of the first stretch."""
    start = UNMARKED if len(found) == 1 else "start"
    roles: list[str] = []
    texts: list[str] = []
    space = ""
    for number, (role, text) in enumerate(found, 1):
        own = space + text
        keep = own.rstrip(" ") if number < len(found) else own
        space = own[len(keep) :]
        if keep:
            roles.append(role or start)
            texts.append(keep)
    twice = [role for role in roles if roles.count(role) > 1 or role == "prefix"]
    if twice:
        raise Mistake(
            f"{where} gives the role {twice[0]!r} twice, or it is the model's own; name each role once, "
            f"such as {twice[0]}1 and {twice[0]}2."
        )
    return tuple(roles), tuple(texts)


def _same(row: Row, first: Row) -> None:
    """Raises `Mistake` when one has roles or fields that the other lacks."""
    if row.template.roles != first.template.roles:
        raise Mistake(
            f"{row.where} has the roles {', '.join(row.template.roles)}, but {first.where} has "
            f"{', '.join(first.template.roles)}. Mark the same roles in every prompt, in one order."
        )
    for name, own, other in zip(OPTIONAL, _given(row.template), _given(first.template), strict=True):
        if own != other:
            lacking, having = (first, row) if own else (row, first)
            raise Mistake(
                f"{lacking.where} has no {name}, but {having.where} has one. Give it to every pair, or to none."
            )


def _given(template: Template) -> tuple[bool, bool]:
    return bool(template.counter_pieces), template.answer != template.counter_answer


def _pair(row: Row, tokenize: Tokenize, prefix: Sequence[int]) -> Pair:
    try:
        return pair_of(row.template, tokenize, prefix=prefix)
    except Mistake as mistake:
        raise Mistake(f"{row.where}: {mistake}") from mistake


def _by_position(found: Sequence[Pair]) -> Iterator[Pair]:
    """Unmarked prompts of one length get a role for each position."""
    lengths = {len(tokens) for pair in found for tokens in (pair.clean, pair.counterfactual) if tokens}
    if UNMARKED not in found[0].roles or len(lengths) > 1:
        yield from found
        return
    prefix = found[0].roles.count("prefix")
    roles = ("prefix",) * prefix + tuple(f"token {n}" for n in range(1, lengths.pop() - prefix + 1))
    for pair in found:
        yield replace(pair, roles=roles, counter_roles=roles if pair.paired else ())
