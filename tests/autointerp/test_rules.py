"""Rules: what each kind fires on, the index against a reading of every document, and what is learnt from planted ones."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import numpy as np
import planted
import pyarrow as pa
import pytest

from autointerp.candidates import join
from autointerp.exact import best_rule, control_of, exactness, measured
from autointerp.examples import Reader
from autointerp.index import Index, places_of
from autointerp.learning import GAIN, Half, Seen, greedy, largest, learn, pairs, seen_of, tried
from autointerp.rule import Rule
from autointerp.rules import affix, kind, ngram, position, previous, token
from autointerp.rules import set as sets
from data import parts
from data.errors import Mistake
from data.store import Workspace

TOKENS = [
    "The",
    " re",
    "conc",
    "iled",
    " king",
    ",",
    " of",
    " France",
    "\n",
    "And",
    " the",
    " King",
    " 19",
    "\n\n",
    "I",
]
LEARNT = ("affix", "kind", "ngram", "position", "previous", "set", "token")


def at(*places: int) -> list[int]:
    return list(places)


@pytest.mark.parametrize(
    ("rule", "places", "text"),
    [
        (Rule("token", token.Options(" The")), at(0, 10), 'the token "the"'),
        (Rule("token", token.Options("The", fold=False)), at(0), 'the token "The"'),
        (Rule("token", token.Options("\n")), at(8), 'the token "\n"'),
        (Rule("set", sets.Options(("king", " of"))), at(4, 6, 11), 'the tokens "king", "of"'),
        (Rule("set", sets.Options((" king", "I"), fold=False)), at(4, 14), 'the tokens " king", "I"'),
        (Rule("set", sets.Options(("reconciled", "and"), unit="word")), at(3, 9), 'the words "reconciled", "and"'),
        (Rule("affix", affix.Options("ed")), at(3), 'words ending in "ed"'),
        (Rule("affix", affix.Options("i", "prefix", "token")), at(3), 'tokens beginning with "i"'),
        (Rule("affix", affix.Options("on", "infix")), at(3), 'words with "on" inside'),
        (Rule("affix", affix.Options("king")), [], 'words ending in "king"'),
        (Rule("ngram", ngram.Options(("king", ",", "of"))), at(6), 'the phrase "king , of"'),
        (Rule("ngram", ngram.Options((" re", "conc"), "token", fold=False)), at(2), 'the phrase " reconc"'),
        (Rule("ngram", ngram.Options(("of",))), at(6), 'the phrase "of"'),
        (Rule("previous", previous.Options(("the",))), at(3, 11), 'words just after "the"'),
        (
            Rule("previous", previous.Options(("the",), "token", 2)),
            at(1, 2, 11, 12),
            'tokens at most 2 tokens after "the"',
        ),
        (Rule("position", position.Options(2)), at(0, 1), "the first 2 tokens of a passage"),
        (Rule("position", position.Options(1, "line")), at(9, 14), "the first token after a line break"),
        (Rule("kind", kind.Options("numbers")), at(12), "numbers and digits"),
        (Rule("kind", kind.Options("lines")), at(8, 13), "line breaks"),
        (Rule("kind", kind.Options("upper")), [], "tokens in capital letters"),
    ],
)
def test_where_a_rule_fires_and_how_it_is_told(rule: Rule, places: list[int], text: str) -> None:
    assert np.flatnonzero(rule.fires(TOKENS)).tolist() == places
    assert rule.text == text
    assert Rule.of(json.loads(json.dumps(rule.record()))) == rule
    assert rule.fires([]).shape == (0,)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "sett", "options": {}}, r"^There is no rule 'sett'\. Did you mean 'set'\?"),
        ({"options": {}}, r"is no rule; a rule has a kind and its options\.$"),
        ({"kind": "set", "options": {"words": []}}, r"has not the options of 'set': tokens, fold, unit\.$"),
    ],
)
def test_what_is_no_rule(record: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        Rule.of(record)


def documents(seed: int, count: int = 30) -> list[list[str]]:
    """Documents of pieces of words in all cases, some of them empty, in no order."""
    draw = random.Random(seed)
    pieces = [" the", " The", "the", " of", "ing", " walk", "ed", "\n", " \n", "", " ", ",", " 7", "7", "É", " É", "X"]
    return [draw.choices(pieces, k=draw.randrange(0, 40)) for _ in range(count)]


def index_over(texts: list[list[str]]) -> Index:
    numbers = list(range(len(texts)))[::-1]
    return Index(pa.table({"document": pa.array(numbers, pa.int32()), "text": pa.array(texts, pa.list_(pa.string()))}))


def some_rules() -> list[Rule]:
    words = [" the", "of", "walking", "walked", "", "\n", "X", "absent", "é"]
    made = [Rule("token", token.Options(w, f)) for w in words for f in (True, False)]
    for unit, fold in itertools.product(("token", "word"), (True, False)):
        made += [Rule("set", sets.Options(tuple(words[i : i + 3]), fold, unit)) for i in range(4)]
        made += [Rule("ngram", ngram.Options((" walk", "ing")[: 2 - fold], unit, fold))]
        made += [Rule("ngram", ngram.Options((",", " the", "\n"), unit, fold))]
        made += [Rule("previous", previous.Options((" The", "\n"), unit, n, fold)) for n in (1, 2, 5)]
    for place, unit in itertools.product(affix.PHRASES, ("token", "word")):
        made += [Rule("affix", affix.Options(letters, place, unit)) for letters in ("e", "the", "in")]
    made += [Rule("kind", kind.Options(name, unit)) for name in kind.NAMED for unit in ("token", "word")]
    made += [Rule("position", position.Options(n, of)) for n in (1, 3) for of in ("document", "line")]
    one, other = Rule("token", token.Options("the")), Rule("previous", previous.Options(("of", "the"), "token"))
    joined = ({"rules": (one, other)}, "union"), ({"rules": (one, other)}, "conjunction")
    made += [Rule(name, parts.load("autointerp.rules", name).Options(**options)) for options, name in joined]
    return [*made, Rule("near_miss", parts.load("autointerp.rules", "near_miss").Options(one, other))]


def test_the_index_finds_what_a_reading_of_every_document_finds() -> None:
    texts = documents(1)
    index = index_over(texts)
    fired = 0
    for rule in some_rules():
        read = [begin + p for begin, t in zip(index.begin, texts, strict=False) for p in np.flatnonzero(rule.fires(t))]
        assert places_of(rule, index).tolist() == read, rule
        fired += len(read)
    assert fired > 1000  # rules that fire nowhere would agree too


def test_words_of_the_index_are_those_of_the_candidates() -> None:
    texts = documents(2)
    found = index_over(texts).units("word", False)
    assert [found.vocabulary[i] for i in found.ids] == [word for text in texts for word in join(text)[0]]


def test_places_are_by_document_whatever_their_order() -> None:
    index = index_over([["a", "b"], [], ["c"]])
    assert index.places(np.array([0, 2, 2]), np.array([0, 1, 0])).tolist() == [0, 1, 2]


def test_greedy_is_nearly_the_best_set() -> None:
    draw = np.random.default_rng(0)
    for _ in range(40):
        total = draw.integers(3, 60, size=7)
        hits = np.array([draw.integers(0, n + 1) for n in total])
        fired = int(hits.sum() + draw.integers(1, 40))

        def f1(chosen: tuple[int, ...] | list[int], fired: int = fired, hits: Any = hits, total: Any = total) -> float:
            return 2 * hits[list(chosen)].sum() / (fired + total[list(chosen)].sum())

        best = max(f1(c) for size in range(1, 4) for c in itertools.combinations(range(7), size))
        # each of three steps may leave out what raises F1 by less than GAIN, or take a worse path by as much
        assert f1(greedy(hits, total, fired, 3)) >= best - 3 * GAIN


@pytest.fixture(scope="module")
def reader(planted_folder: Any) -> Reader:
    return Reader(Workspace(planted_folder), planted.DICTIONARY)


@pytest.mark.parametrize(
    ("latent", "text"),
    [
        (0, {"river", "lake", "sea"}),
        (1, {"red", "green", "blue"}),
        (2, 'tokens just after "his"'),
        (6, {"mother", "father", "sister", "uncle", "cousin"}),
    ],
)
def test_a_planted_rule_is_learnt_exactly(reader: Reader, latent: int, text: str | set[str]) -> None:
    best = learn(seen_of(reader, latent))[0]
    assert best.f1 == 1
    assert best.rule.text == text if isinstance(text, str) else set(best.rule.options.tokens) == text
    worth = exactness(best.rule, reader, latent, other=1 - latent if latent < 2 else 0)
    assert (worth.precision.value, worth.recall.value, worth.f1.value) == (1, 1, 1)
    assert worth.control is not None
    assert worth.control.value == 0
    assert worth.fired == worth.said > 8


def test_each_kind_is_learnt_from_its_own_firings() -> None:
    texts = documents(3, 120)
    index = index_over(texts)
    half = Half(index, np.arange(len(texts)) % 2 == 0)
    planted_rules = [
        Rule("affix", affix.Options("e", "prefix", "word")),
        Rule("ngram", ngram.Options(("walk", "ing"), "token")),
        Rule("position", position.Options(3)),
        Rule("position", position.Options(2, "line")),
        Rule("kind", kind.Options("numbers")),
        Rule("previous", previous.Options((",",), "token")),
        Rule("set", sets.Options(("of", "x"))),
        Rule("token", token.Options(" The", False)),
    ]
    assert {rule.kind for rule in planted_rules} == set(LEARNT)
    for rule in planted_rules:
        places = places_of(rule, index)
        best = learn(Seen(half, places[half.inside[places]]))[0]
        assert best.f1 == 1, (rule, best)


def test_a_second_kind_is_joined_where_it_helps(reader: Reader) -> None:
    seen = seen_of(reader, 0)
    begin = np.flatnonzero((seen.half.index.offset < 2) & seen.half.inside)
    both = Seen(seen.half, np.union1d(seen.fired, begin))
    best = learn(both)[0]
    assert best.rule.kind == "union"
    assert best.f1 == 1
    assert max(one.f1 for one in learn(both, beam=0)) < 0.9


def test_information_is_that_of_the_table() -> None:
    half = Half(index_over([["a", "b", "a", "c"]] * 4), np.ones(4, dtype=bool))
    found = learn(Seen(half, np.flatnonzero(half.index.offset == 0)), by="information")
    exact = next(one for one in found if one.rule == Rule("position", position.Options(1)))
    assert exact.information == pytest.approx(-0.25 * np.log2(0.25) - 0.75 * np.log2(0.75))  # all of its entropy
    letter = next(one for one in found if one.rule == Rule("token", token.Options("a")))
    # P(a) = 1/2, P(fires | a) = 1/2: H(1/4) - H(1/2) / 2
    assert letter.information == pytest.approx(exact.information - 0.5)


def test_exactness_against_counting(reader: Reader) -> None:
    rule = Rule("set", sets.Options(("river", "the")))
    worth = exactness(rule, reader, 0, other=1, seed=3)
    made = [d for d in planted.documents() if d.half == "score"]
    table: list[list[int]] = []
    for d in made:
        fires = rule.fires(d.tokens)
        truth = np.array([planted.RULES[0](d.tokens, i) > 0 for i in range(len(d.tokens))])
        table.append([int((fires & truth).sum()), int(fires.sum()), int(truth.sum())])
    hits, said, fired = np.array(table).sum(0)
    assert (worth.said, worth.fired) == (said, fired)
    assert worth.precision.value == pytest.approx(hits / said)
    assert worth.recall.value == pytest.approx(hits / fired)
    assert worth.f1.value == pytest.approx(2 * hits / (said + fired))
    draw = np.random.default_rng(11)
    drawn = np.array([np.array(table)[draw.integers(0, len(table), len(table))].sum(0) for _ in range(2000)])
    lower, upper = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    # other draws of the same bootstrap: the ends of an interval of 1,000 draws scatter by a few percent of its width
    assert worth.precision.lower == pytest.approx(lower, abs=0.15 * (upper - lower))
    assert worth.precision.upper == pytest.approx(upper, abs=0.15 * (upper - lower))
    assert worth.difference is not None
    assert worth.difference.value == pytest.approx(worth.f1.value)


def test_a_rule_that_says_nothing_has_no_precision(reader: Reader) -> None:
    worth = exactness(Rule("token", token.Options("absent")), reader, 0)
    assert (worth.columns()["precision"], worth.columns()["precision_lower"]) == (None, None)
    assert worth.columns()["recall"] == worth.columns()["rule_f1"] == 0
    assert worth.columns()["rule_control"] is None


def test_many_documents_are_drawn_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autointerp.learning.GROUPS", 7)
    half = Half(index_over(documents(4, 100)), np.arange(100) % 4 > 0)
    fired = np.flatnonzero(half.inside)[::5]
    worth = measured(np.flatnonzero(half.inside), Seen(half, fired), None, seed=0)
    assert half.groups == 7
    assert worth.precision.value == pytest.approx(len(fired) / half.inside.sum())
    assert worth.precision.lower < worth.precision.value < worth.precision.upper


def test_the_control_fires_about_as_often() -> None:
    densities = np.array([0.5, 0.0, 0.1, 0.11, 0.09, *np.linspace(0.2, 0.4, 40)])
    drawn = {control_of(2, densities, seed) for seed in range(60)}
    assert drawn <= {3, 4, *range(5, 23)}  # the twenty nearest that fire, never itself
    assert len(drawn) > 5
    assert control_of(0, np.array([0.5, 0.0]), 0) is None


def test_a_dead_feature_has_no_rule(reader: Reader) -> None:
    assert best_rule(reader, 3) is None


def test_pairs_are_counted_as_they_would_fire() -> None:
    texts = documents(5, 60)
    half = Half(index_over(texts), np.arange(60) % 3 > 0)
    fired = np.flatnonzero(half.inside & (np.arange(len(half.index)) % 3 == 0))
    seen = Seen(half, fired)
    singles = [tried(Rule("kind", kind.Options(name)), seen) for name in ("capitals", "inner", "spaces", "punctuation")]
    kinds = set()
    for joined in pairs(singles, "hits", seen, better=-1):
        again = tried(joined.rule, seen)
        assert (joined.hits, joined.said, joined.fired) == (again.hits, again.said, again.fired), joined.rule
        kinds.add(joined.rule.kind)
    assert kinds == {"union", "conjunction", "near_miss"}


def test_the_largest_come_in_order() -> None:
    values = np.array([0.1, 0.5, 0.5, 0.9, 0.0])
    assert largest(values, 3) == [3, 1, 2]
    assert largest(values, 9) == [3, 1, 2, 0, 4]
    assert largest(values[:0], 3) == []
