"""The rules of planted features, against rules written out token by token."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from autointerp.rule import Rule


def rule(kind: str, **options: object) -> Rule:
    return Rule.of({"kind": kind, "options": options})


WAR = {"kind": "set", "options": {"tokens": ["war", "sword"]}}
KING = {"kind": "token", "options": {"token": "king"}}
NEGATED = {"kind": "negation", "options": {"words": ["not", "never"], "reach": 2}}


def drawn(seed: int, count: int = 60) -> list[str]:
    draw = random.Random(seed)
    return [draw.choice([" war", " Sword", " king", " not", " never", " the", ",", "."]) for _ in range(count)]


def word(token: str) -> str:
    return token.strip().lower()


def near(tokens: list[str], at: int) -> bool:
    return sum(word(t) in ("war", "sword") for t in tokens[max(at - 4, 0) : at + 1]) >= 2


def negated(tokens: list[str], at: int) -> bool:
    since = []
    for token in reversed(tokens[:at]):
        if word(token) in ("not", "never"):
            return word(tokens[at]) not in ("not", "never", ",", ".") and len(since) < 2
        if token in (",", "."):
            return False
        since.append(token)
    return False


@pytest.mark.parametrize("seed", range(5))
def test_rules_fire_where_their_definitions_do(seed: int) -> None:
    tokens = drawn(seed)
    places = range(len(tokens))
    topic = rule("topic", name="war", words=["war", "sword"], reach=5, least=2)
    assert topic.fires(tokens).tolist() == [near(tokens, at) for at in places]
    assert Rule.of(NEGATED).fires(tokens).tolist() == [negated(tokens, at) for at in places]
    both = rule("conjunction", rules=[WAR, NEGATED])
    assert both.fires(tokens).tolist() == [
        word(t) in ("war", "sword") and negated(tokens, a) for a, t in enumerate(tokens)
    ]
    either = rule("union", rules=[WAR, KING])
    assert either.fires(tokens).tolist() == [word(t) in ("war", "sword", "king") for t in tokens]
    nearly = rule("near_miss", rule=WAR, but=NEGATED)
    expected = [word(t) in ("war", "sword") and not negated(tokens, at) for at, t in enumerate(tokens)]
    assert nearly.fires(tokens).tolist() == expected
    assert topic.fires(tokens).any()
    assert both.fires(tokens).any()


def test_rules_of_rules_are_read_back_from_json() -> None:
    whole = rule("near_miss", rule={"kind": "union", "options": {"rules": [WAR, KING]}}, but=NEGATED)
    again = Rule.of(json.loads(json.dumps(whole.record())))
    assert again == whole
    tokens = drawn(9)
    assert np.array_equal(again.fires(tokens), whole.fires(tokens))


def test_rules_say_in_words_what_they_are() -> None:
    assert rule("negation", words=["not"], reach=1).text == 'negated words: the word after "not"'
    assert Rule.of(NEGATED).text == 'negated words: the 2 words after "not", "never"'
    assert rule("topic", name="war", words=["war", "sword"]).text == 'the topic of war (words such as "war", "sword")'
    assert rule("union", rules=[WAR, KING]).text == 'the tokens "war", "sword"; or the token "king"'
    assert rule("near_miss", rule=KING, but=NEGATED).text.startswith('the token "king", but not negated words')
    assert "and at the same time" in rule("conjunction", rules=[WAR, KING]).text


def test_no_token_is_no_firing() -> None:
    for kind, options in (("topic", {"name": "war", "words": ["war"]}), ("negation", {})):
        assert rule(kind, **options).fires([]).tolist() == []
