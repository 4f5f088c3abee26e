"""The pairs that are kept, and the two halves that share no word and no prompt."""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Callable, Hashable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.pairs import Halves, gather, prompts_of, right_of, words_of
from data import tasks
from data.errors import Mistake
from data.models import Subject
from data.tasks._words import NOUNS
from data.words import Pair

ROLES = ("The", "subject")


def pair(word: int, other: int, rest: int = 0) -> Pair:
    return Pair((rest, word), (rest, other), 1, 2, ROLES, "", "")


def write(path: Path, texts: list[tuple[str, str]]) -> str:
    """Prompts and counterfactuals as a file, with answers that agree with the second word of each."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["prompt", "counterfactual", "answer", "counter_answer"])
        plural = " are", " is"
        rows.writerows([*both, *plural[:: 1 if both[0].split()[1].endswith("s") else -1]] for both in texts)
    return str(path)


@pytest.fixture(scope="session")
def texts(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(p.text, p.counter_text) for p in pairs]


def test_words_are_what_the_prompts_differ_in() -> None:
    assert words_of(pair(5, 6, 7)) == {(5,), (6,)}
    longer = Pair((7, 5, 5), (7, 6), 1, 2, (*ROLES, "subject"), "", "", ROLES)
    assert words_of(longer) == {(5, 5), (6,)}
    assert words_of(Pair((7, 5), (), 1, 1, ROLES, "", "")) == {(7, 5)}
    assert prompts_of(longer) == {(7, 5, 5), (7, 6)}


numbers = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 2)), max_size=60)


@settings(max_examples=60)
@given(numbers, st.sampled_from([words_of, prompts_of]))
def test_nothing_is_on_both_sides(drawn: list[tuple[int, int, int]], keys_of: Callable[[Pair], set[Hashable]]) -> None:
    halves = Halves(16, keys_of)
    for word, other, rest in drawn:
        if word != other:
            halves.add(pair(word, other, rest))
    left, right = (set().union(*map(keys_of, side)) for side in halves.sides)
    assert not left & right


def test_halves_stay_even_when_words_are_shared() -> None:
    """Every word with every other: the words are dealt out, and the pairs within each side are about as many."""
    halves = Halves(64, words_of)
    drawn = list(itertools.permutations(range(24), 2))
    random.Random(0).shuffle(drawn)
    for word, other in drawn:
        halves.add(pair(word, other))
    assert halves.full
    assert len(set(halves._side.values())) == 2
    assert 8 <= sum(halves._side.values()) <= 16


def test_a_task_is_halved_by_its_subjects(subject: Subject) -> None:
    found = gather(subject, "agreement", 32, seed=0)
    assert found.apart == "words"
    assert (len(found.discovery), len(found.heldout)) == (16, 16)
    nouns = [{word for p in half for word in words_of(p)} for half in (found.discovery, found.heldout)]
    assert not nouns[0] & nouns[1]
    assert all(right_of(subject, list(found.discovery + found.heldout)))
    assert 0.5 < found.accuracy <= 1
    assert found.tried >= 32


def test_the_pairs_do_not_depend_on_the_batch(subject: Subject) -> None:
    assert gather(subject, "agreement", 16, seed=3, batch=4) == gather(subject, "agreement", 16, seed=3, batch=32)


def test_pairs_that_all_differ_in_the_same_words_are_halved_by_prompt(subject: Subject, tmp_path: Path) -> None:
    """One noun, several attractors."""
    nouns = [noun for both in NOUNS for noun in both if not noun.startswith("car")]
    some = [(f"The cars near the {noun}", f"The car near the {noun}") for noun in nouns]
    found = gather(subject, write(tmp_path / "cars.csv", some), 16, seed=0)
    assert found.apart == "prompts"
    left, right = (set().union(*map(prompts_of, half)) for half in (found.discovery, found.heldout))
    assert left
    assert right
    assert not left & right


def test_a_file_with_fewer_pairs_is_used_whole(
    subject: Subject, tmp_path: Path, pairs: list[Pair], texts: list[tuple[str, str]]
) -> None:
    good = [p for p, right in zip(pairs, right_of(subject, pairs), strict=True) if right]
    path = write(tmp_path / "few.csv", texts)
    found = gather(subject, path, 128, seed=0)
    assert found.tried == len(set(texts))
    assert 4 <= len(found.discovery) + len(found.heldout) <= len(good) + 2
    assert len(gather(subject, path, 4, seed=0).discovery) == 2


def test_a_generated_task_must_give_what_was_asked_for(
    subject: Subject, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that ends after a dozen pairs."""
    monkeypatch.setattr(tasks, "pairs", lambda *_, **__: iter(pairs * 3))
    with pytest.raises(
        Mistake, match=r"gets \d+ of 12 pairs of the task 'agreement' right \(\d+ %\), which leaves fewer"
    ):
        gather(subject, "agreement", 64, seed=0)


def test_a_file_that_the_model_cannot_do(subject: Subject, tmp_path: Path, texts: list[tuple[str, str]]) -> None:
    wrong = write(tmp_path / "wrong.csv", texts)
    swapped = Path(wrong).read_text().replace(" are", " x").replace(" is", " are").replace(" x", " is")
    Path(wrong).write_text(swapped)
    with pytest.raises(
        Mistake, match=r"gets \d+ of \d+ pairs of the task 'wrong' right \(\d+ %\), and a circuit needs 4.*space"
    ):
        gather(subject, wrong, 128, seed=0)


def test_a_file_whose_pairs_share_a_prompt(subject: Subject, tmp_path: Path) -> None:
    rows = [
        f"The {noun}s near the car, are,The key near the car, is"
        for noun in ("dog", "key", "cat", "boy", "girl", "ship")
    ]
    path = tmp_path / "shared.csv"
    path.write_text("\n".join(["prompt,answer,counterfactual,counter_answer", *rows]))
    with pytest.raises(Mistake, match=r"they share their prompts, so that no half of them can be held out"):
        gather(subject, str(path), 128, seed=0)


def test_right_without_counterfactuals(subject: Subject, pairs: list[Pair]) -> None:
    """With two answers the better one must be the right one; with one, no token may be better."""
    two = [Pair(p.clean, (), p.answer, p.counter_answer, p.roles, p.text, "") for p in pairs]
    one = [Pair(p.clean, (), p.answer, p.answer, p.roles, p.text, "") for p in pairs]
    both, alone, strict = (sum(right_of(subject, some)) for some in (pairs, two, one))
    assert len(pairs) >= alone >= both > 0
    assert alone > strict >= 0
