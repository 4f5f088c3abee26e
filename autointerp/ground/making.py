"""Short ways to write rules down."""

from __future__ import annotations

from typing import Any

from autointerp.rule import Rule


def make(kind: str, **options: Any) -> Rule:
    """The rule of `kind` with `options`, which may hold rules. Raises `Mistake` for what is no rule."""
    return Rule.of({"kind": kind, "options": {name: plain(value) for name, value in options.items()}})


def plain(value: Any) -> Any:
    """`value` with the rules in it as records."""
    if isinstance(value, Rule):
        return value.record()
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def words(text: str) -> Rule:
    """The set of the words in `text`, or the token if there is but one."""
    found = text.split()
    return make("token", token=found[0]) if len(found) == 1 else make("set", tokens=found)


def topic(name: str, text: str, least: int = 2) -> Rule:
    """The topic `name`, told by the words in `text`."""
    return make("topic", name=name, words=text.split(), least=least)


def negated(text: str, reach: int) -> Rule:
    """The `reach` words after each of the negations in `text`."""
    return make("negation", words=text.split(), reach=reach)


def all_of(*rules: Rule) -> Rule:
    """Where all of `rules` fire."""
    return make("conjunction", rules=rules)


def any_of(*rules: Rule) -> Rule:
    """Where one of `rules` fires."""
    return make("union", rules=rules)


def but_not(rule: Rule, but: Rule) -> Rule:
    """Where `rule` fires and `but` does not."""
    return make("near_miss", rule=rule, but=but)
