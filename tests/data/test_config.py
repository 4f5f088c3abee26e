"""Configs: options from the command line and from TOML, and what is wrong with them in a sentence."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from data.config import add_arguments, build, docs, from_arguments
from data.errors import Mistake


@dataclass(frozen=True)
class Example:
    """An example."""

    task: str = field(default="agreement", metadata={"positional": True})
    """What to do."""
    tokens: int = 10
    """How many tokens, 100 % of them."""
    rate: float = 1e-3
    """How fast."""
    text: str | None = None
    """Where from."""
    retry: bool = False
    """Whether again."""


def parse(*given: str, file: str | None = None) -> Example:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Example)
    return from_arguments(Example, parser.parse_args(given), file)


def test_options_and_defaults() -> None:
    assert parse() == Example()
    given = parse("capital", "--tokens", "3", "--rate", "1", "--text", "a.txt", "--retry")
    assert given == Example("capital", 3, 1.0, "a.txt", True)


def test_the_docstring_of_a_field_is_its_help() -> None:
    assert docs(Example)["tokens"] == "How many tokens, 100 % of them."
    parser = argparse.ArgumentParser()
    add_arguments(parser, Example)
    assert "How many tokens, 100 % of them. (default: 10)" in " ".join(parser.format_help().split())


@dataclass(frozen=True)
class Wider(Example):
    """An example with more to it."""

    extra: int = 1
    """What others lack."""


def test_a_verb_shows_its_own_options_before_those_that_others_have_too() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Wider)
    shown = parser.format_help()
    assert shown.index("What others lack.") < shown.index("How fast.")


def test_a_file_and_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('tokens = 5\ntext = "b.txt"\nrate = 2\n')
    assert parse("--tokens", "7", file=str(file)) == Example(tokens=7, text="b.txt", rate=2.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("tokenz = 5", "There is no option in .*'tokenz'. Did you mean 'tokens'?"),
        ("tokens = 'many'", "tokens = 'many' in .* is str; it should be int."),
        ("tokens = true", "tokens = True in .* is bool; it should be int."),
        ("tokens = ", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(content)
    with pytest.raises(Mistake, match=said):
        parse(file=str(file))


def test_a_missing_file_and_a_missing_field() -> None:
    with pytest.raises(Mistake, match="cannot be read: No such file"):
        parse(file="nowhere.toml")

    @dataclass(frozen=True)
    class Needy:
        """Needs a run."""

        run: str
        """The run."""

    with pytest.raises(Mistake, match="lacks run; it has no default"):
        build(Needy, {})
