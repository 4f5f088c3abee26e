"""Forms are made of configs: what a form says is what the command line understands, for every verb."""

from __future__ import annotations

import pytest

from dashboard import commands, options
from data.errors import Mistake
from data.verbs import VERBS

JOBS = [verb for verb in VERBS if verb not in commands.NEVER]
OTHER = {int: "7", float: "0.25", str: "other"}


def meant(verb: str, words: list[str]) -> object:
    """What the words mean, or why they mean nothing."""
    try:
        return commands.parse(verb, words)
    except Mistake as mistake:
        return str(mistake)


def changed(option: options.Option) -> str:
    """A value that is not the default."""
    if option.kind is bool:
        return "false" if option.default == "true" else "true"
    return next((name for name in option.known if name != option.default), OTHER[option.kind])


def typed(option: options.Option, value: str) -> list[str]:
    """The option as a person would type it."""
    flag = "--" + option.name.replace("_", "-")
    if option.place:
        return [value]
    if option.kind is bool:
        return [flag if value == "true" else flag.replace("--", "--no-", 1)]
    return [flag, value]


@pytest.mark.parametrize("verb", JOBS)
def test_every_field_of_a_form_gives_the_config_of_the_command_line(verb: str) -> None:
    asked = options.asked(verb)
    needed = {o.name: changed(o) for o in asked if o.default is None}
    places = [word for o in asked if o.default is None for word in typed(o, needed[o.name])]
    assert meant(verb, options.words_of(asked, needed)) == meant(verb, places)
    for option in asked:
        if option.name in needed:
            continue
        value = changed(option)
        words = options.words_of(asked, needed | {option.name: value})
        expected = [*places, *typed(option, value)] if not option.place else [*typed(option, value), *places]
        assert meant(verb, words) == meant(verb, expected), option
        assert options.values_of(verb, words) == needed | {option.name: value}


@pytest.mark.parametrize("verb", JOBS)
def test_a_form_that_is_left_alone_is_the_bare_command(verb: str) -> None:
    asked = options.asked(verb)
    defaults = {o.name: o.default for o in asked if o.default}
    assert options.words_of(asked, defaults) == []
    assert all(option.help for option in asked), [o.name for o in asked if not o.help]
    assert asked[0].first
    assert [o.first for o in asked] == sorted((o.first for o in asked), reverse=True)


@pytest.mark.parametrize("verb", JOBS)
def test_the_config_written_as_words_is_read_again(verb: str) -> None:
    asked = options.asked(verb)
    needed = {o.name: changed(o) for o in asked if o.default is None}
    config = meant(verb, options.words_of(asked, needed))
    if not isinstance(config, str):
        assert meant(verb, commands.words(config)) == config
        assert len(commands.words(config)) == sum(1 if o.place else 2 for o in asked if o.default is None)


def test_parts_are_choices_without_a_list_to_keep() -> None:
    of = {(verb, option.name): option for verb in JOBS for option in options.asked(verb)}
    assert {"topk", "batchtopk", "jumprelu"} <= set(of["train", "architecture"].known)
    assert of["train", "architecture"].many
    assert {"exact", "integrated_gradients"} <= set(of["circuit", "method"].known)
    assert not of["circuit", "method"].many
    assert "agreement" in of["circuit", "task"].known
    assert {"llm", "rule"} <= set(of["explain", "explainer"].known)
    assert {"detection", "surprisal"} <= set(of["score", "scorers"].known)
    assert "random" in of["score", "negatives"].known
    assert "detection" in of["bench-autointerp", "scorers"].known
    assert of["doctor", "dictionary"].ids == of["similar", "one"].ids == "dictionary"
    assert (of["resume", "run"].ids, of["front", "run"].ids, of["diff", "left"].ids) == ("training", "sweep", "circuit")


def test_no_form_asks_for_a_key() -> None:
    names = {option.name for verb in JOBS for option in options.asked(verb)}
    assert not [name for name in names if "key" in name or "password" in name or "secret" in name]


@pytest.mark.parametrize(
    ("verb", "name", "value", "said"),
    [
        ("train", "tokens", "many", "tokens = 'many' should be a whole number."),
        ("train", "tokens", "1.5", "tokens = '1.5' should be a whole number."),
        ("train", "learning_rate", "fast", "learning rate = 'fast' should be a number."),
        ("train", "learning_rate", "2e-3", ""),
        ("doctor", "dictionary", "", "dictionary must be given."),
        ("doctor", "model", "", ""),
    ],
)
def test_a_text_is_checked_where_it_stands(verb: str, name: str, value: str, said: str) -> None:
    option = next(option for option in options.asked(verb) if option.name == name)
    assert options.fault(option, value) == said


@pytest.mark.parametrize("text", ["-3 degrees", "--help", 'it\'s "quoted" $(x) `y`', "two\nlines", "naïve 漢"])
def test_any_text_can_be_given(text: str) -> None:
    asked = options.asked("relabel")
    words = options.words_of(asked, {"feature": "0123456789abcdef/4", "text": text, "author": text})
    config = commands.parse("relabel", words)
    assert (config.text, config.author) == (text, text)
    assert options.values_of("relabel", words)["text"] == text
    command = commands.shown("relabel", words, "/a folder/it's")
    assert commands.understood(command, "/a folder/it's") == commands.Asked("relabel", tuple(words))
    assert commands.parse("relabel", commands.words(config)) == config


@pytest.mark.parametrize(
    "command",
    [
        "lacewing train --workspace /elsewhere", "lacewing train", "rm -rf / --workspace /w", "kill 12", "",
        "lacewing dashboard --workspace /w", "lacewing trian --workspace /w", "lacewing 'train --workspace /w",
        "export OPENAI_API_KEY=...; lacewing score --workspace /w",
    ],
)  # fmt: skip
def test_only_commands_of_this_workspace_are_ours(command: str) -> None:
    assert commands.understood(command, "/w") is None


def test_a_forecast_is_offered_where_there_is_one() -> None:
    assert {"train", "sweep", "explain", "score"} <= {verb for verb in JOBS if options.has_forecast(verb)}
    assert not options.has_forecast("harvest")
    assert all(option.name != "dry_run" for option in options.asked("train"))
