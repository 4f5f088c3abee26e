"""Every task keeps the contract, and says what is true; prompts in pieces become tokens as they should."""

from __future__ import annotations

import itertools
import random
import re
import socket
from collections.abc import Callable

import pytest

from data import parts, tasks
from data.errors import Mistake
from data.models import Subject
from data.tasks import Template, capital_of
from data.tasks._words import WOMEN
from data.words import Pair, order_of

TASKS = parts.names("data.tasks")
PLURALS = r"(s|children)$"


class Words:
    """A tokenizer in which words, digits and marks are tokens, each with the space before it; it never splits a word."""

    def __init__(self, pattern: str = r" ?[A-Za-z]+|'t| ?\d| ?[^\w\s]|\s") -> None:
        self.pattern = pattern
        self.vocabulary: list[str] = []
        self.ids: dict[str, int] = {}

    def __call__(self, text: str) -> list[int]:
        found = re.findall(self.pattern, text)
        assert "".join(found) == text
        for word in found:
            if self.ids.setdefault(word, len(self.ids)) == len(self.vocabulary):
                self.vocabulary.append(word)
        return [self.ids[word] for word in found]

    def spell(self, *tokens: int) -> str:
        return "".join(self.vocabulary[token] for token in tokens)


def some(task: str, count: int, seed: int = 0, tokenize: Words | None = None) -> tuple[list[Pair], Words]:
    tokenize = tokenize or Words()
    tokenize("<")  # id 0, which stands for the prefix
    return list(itertools.islice(tasks.pairs(task, tokenize, prefix=(0,), seed=seed), count)), tokenize


def varied(pair: Pair) -> list[str]:
    """The roles whose tokens differ."""

    def of(tokens: tuple[int, ...], roles: tuple[str, ...], role: str) -> list[int]:
        return [token for token, own in zip(tokens, roles, strict=True) if own == role]

    return [
        r
        for r in order_of(pair.roles)
        if of(pair.clean, pair.roles, r) != of(pair.counterfactual, pair.counter_roles, r)
    ]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_keeps_the_contract(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a task needs no network"))
    found, tokenize = some(task, 300)
    assert len(set(found)) == 300
    assert len({pair.clean for pair in found}) >= 150
    for pair in found:
        assert pair.answer != pair.counter_answer
        assert pair.clean[0] == pair.counterfactual[0] == 0
        assert pair.roles[0] == "prefix"
        assert tokenize.spell(*pair.clean[1:]) == pair.text
        assert tokenize.spell(*pair.counterfactual[1:]) == pair.counter_text
        assert len(varied(pair)) == 1
    assert len({order_of(pair.roles) for pair in found}) == 1
    assert len({tuple(varied(pair)) for pair in found}) == 1
    answers = {pair.answer for pair in found}
    assert {pair.counter_answer for pair in found} <= answers or len(
        answers
    ) > 20  # each answer is the right one somewhere
    assert re.search(r"\b(19|20)\d\d\b", parts.load("data.tasks", task).__doc__ or ""), "a task names its source"


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_fixed_by_its_seed(task: str) -> None:
    def texts(seed: int) -> list[str]:
        return [pair.text + pair.counter_text for pair in some(task, 20, seed)[0]]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


LIKE = (" like", " want", " need", " know", " use", " see", " have")


def capital(text: str) -> str:
    return next(f" {city}" for country, city in capital_of.CAPITALS.items() if f" {country}" in text)


def right(task: str, text: str, answer: str, other: str) -> bool:
    """Whether `answer` is the right one of the two after `text`, by rules that know nothing of the templates."""
    words = re.findall(r"[A-Za-z]+|\d+", text)
    if task.startswith("agreement"):
        subject = {"agreement": 1, "agreement_simple": 2, "agreement_across_clause": 1, "agreement_within_clause": 4}[
            task
        ]
        plural = bool(re.search(PLURALS, words[subject]))
        return plural == (answer in (" are", " were", *LIKE)) != (other in (" are", " were", *LIKE))
    if task == "indirect_object":
        return text.count(answer) == 1 and text.count(other) == 2
    if task == "gendered_pronoun":
        return answer == (" she" if words[1] in WOMEN else " he")
    if task == "capital_of":
        return answer == capital(text) != other
    if task == "induction":
        return words[words.index(words[-1]) + 1] == answer.strip() and other.strip() not in words
    if task == "plausibility":
        causes = (" wanted", " never", " knew", " always", " couldn")
        return (answer in causes) == (" because " in text)
    century, years = words[-1], words[-5]
    assert task == "greater_than"
    assert years.startswith(century)
    first, possible = int(years[-2:]) // 10, int(answer[0])
    return possible > first and (int(other[0]) <= first or int(other[0]) > possible)


@pytest.mark.parametrize("task", TASKS)
def test_the_right_answer_is_right(task: str) -> None:
    found, tokenize = some(task, 200)
    for pair in found:
        answer, other = tokenize.spell(pair.answer), tokenize.spell(pair.counter_answer)
        assert right(task, pair.text, answer, other), (pair.text, answer)
        assert right(task, pair.counter_text, other, answer), (pair.counter_text, other)
        assert not right(task, pair.text, other, answer)  # the rule itself can fail


def test_years_of_two_digits_where_they_are_a_token() -> None:
    found, tokenize = some("greater_than", 20, tokenize=Words(r" ?[A-Za-z]+| ?\d\d|[<]"))
    assert {len(tokenize.spell(pair.answer)) for pair in found} == {2}
    assert len({len(pair.clean) for pair in found}) == 1


def test_a_tokenizer_that_splits_every_answer() -> None:
    with pytest.raises(
        Mistake, match="'capital_of' needs answers of one token each; this model's tokenizer splits them"
    ):
        some("capital_of", 1, tokenize=Words(r"."))


def test_words_of_several_tokens_are_kept_where_there_are_few_others() -> None:
    tokenize = Words(r" ?[a-m]+|[n-z]+|.")
    entries = ["ab", "ax", "xa", "la"]
    assert list(tasks.words(tokenize, entries, 2)) == ["ab", "la"]
    assert list(tasks.words(tokenize, entries, 3)) == entries
    assert list(tasks.words(tokenize, [("ab", "la"), ("ab", "ax")], 1)) == [("ab", "la")]


def test_a_piece_may_be_several_tokens() -> None:
    tokenize = Words()
    template = Template(
        ("The", " old red key", " of"), ("The", " keys", " of"), ("The", "subject", "of"), " is", " are"
    )
    pair = tasks.pair_of(template, tokenize, prefix=(7, 7))
    assert pair.roles == ("prefix", "prefix", "The", "subject", "subject", "subject", "of")
    assert pair.counter_roles == ("prefix", "prefix", "The", "subject", "of")
    assert tokenize.spell(*pair.clean[2:]) == "The old red key of"
    assert tokenize.spell(pair.answer, pair.counter_answer) == " is are"


@pytest.mark.parametrize(
    ("pieces", "answer", "message"),
    [
        (("The", " old ke", "y"), " is", "In 'The old key' the piece ' old ke' ends within a token"),
        (("The", " key ", "is"), " it", "In 'The key is' the piece ' key ' ends within a token"),
        (("The", " old", " key"), " is not", "The answer ' is not' is 2 tokens of this model after 'The old key'"),
        (("The", " old", " key"), "", "The answer '' is 0 tokens"),
        (("The", " old", " key"), "s", "The answer 's' does not begin with a token of its own after 'The old key'"),
        (("The", " old", " key "), "is", "End the prompt with a word and begin the answer with the space"),
    ],
)
def test_what_does_not_fit_the_tokenizer(pieces: tuple[str, ...], answer: str, message: str) -> None:
    with pytest.raises(Mistake, match=re.escape(message)):
        tasks.pair_of(Template(pieces, (), ("a", "b", "c"), answer, answer), Words(), prefix=())


def test_an_unknown_task() -> None:
    with pytest.raises(Mistake, match="There is no task 'inductoin'. Did you mean 'induction'"):
        tasks.check("inductoin")


@pytest.mark.real
@pytest.mark.parametrize("task", TASKS)
def test_smollm2_does_most_of_every_task(task: str, smollm2: Subject, right_of: Callable[..., list[bool]]) -> None:
    """By chance one pair in four is right both ways."""
    source = tasks.pairs(task, smollm2.tokenize, prefix=smollm2.prefix, seed=random.Random(task).randrange(99))
    good = right_of(smollm2, list(itertools.islice(source, 32)))
    assert sum(good) / len(good) > 0.6


@pytest.fixture(scope="session")
def smollm2() -> Subject:
    return Subject.open()


@pytest.fixture(scope="session")
def right_of() -> Callable[..., list[bool]]:
    from circuits.pairs import right_of

    return right_of
