"""The puzzles of the package `automated-interpretability`, if it is installed: true explanations against near misses.

1. Nineteen made-up neurons (OpenAI; Bills et al. 2023) come with that package as JSON: sentences with activations, the true
   explanation, and three or four false ones that are nearly right. They are read from where it is installed, and neither
   copied nor is anything of it imported.
2. Sentences are cut into windows of `LENGTH` tokens. A scorer judges the true and the false explanations on them.
3. The score is the share of puzzles in which the true one is best (ties share), whose chance is one in the number of
   explanations, and the mean AUROC of the true one beside the mean of its near misses.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from autointerp.ground.card import mean, stored
from autointerp.ground.judging import read
from autointerp.judgements import Question
from autointerp.tools import Tools
from autointerp.watch import watch
from autointerp.windows import Window
from data import parts
from data.parts import Choice
from data.runs import Run
from data.store import append

PACKAGE = "automated-interpretability"
FILE = "neuron_explainer/explanations/puzzles.json"
SITE = "puzzles"
LENGTH = 12


@dataclass(frozen=True)
class Puzzle:
    """A made-up neuron: its true explanation, false ones, and sentences of [token, activation]."""

    name: str
    explanation: str
    false: tuple[str, ...]
    sentences: tuple[tuple[tuple[str, float], ...], ...]

    @property
    def windows(self) -> list[Window]:
        """The sentences in pieces; a document is a sentence."""
        return [
            _window(document, start, sentence[start : start + LENGTH])
            for document, sentence in enumerate(self.sentences)
            for start in range(0, len(sentence), LENGTH)
        ]


def puzzles() -> list[Puzzle]:
    """The puzzles, in order of name; none where the package is not installed or has no such file."""
    try:
        file = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(FILE)))
    except importlib.metadata.PackageNotFoundError:
        return []
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return [_puzzle(one) for _, one in sorted(found.items())]


def _puzzle(one: dict[str, Any]) -> Puzzle:
    sentences = tuple(tuple(_pair(item) for item in sentence) for sentence in one["sentences"])
    return Puzzle(one["name"], one["explanation"], tuple(one["false_explanations"]), sentences)


def _pair(item: Any) -> tuple[str, float]:
    """A token with its activation; tokens without one stand alone."""
    return (item, 0.0) if isinstance(item, str) else (str(item[0]), float(item[1]))


def _window(document: int, start: int, piece: Sequence[tuple[str, float]]) -> Window:
    tokens, values = zip(*piece, strict=True)
    return Window(
        document, start, tuple(range(len(tokens))), tokens, values, "score", "active" if any(values) else "random"
    )


def measure(run: Run, scorers: Sequence[Choice], tools: Tools, console: Console | None) -> None:
    """Has each scorer judge the puzzles; rows of `bench` for `run`. Nothing without the package."""
    known = [one for one in puzzles() if len({window.active for window in one.windows}) == 2]
    with run.workspace.read() as db:
        done = db.execute("select distinct method from bench where run = ? and site = ?", [run.run, SITE]).fetchall()
    for scorer in scorers:
        if known and (scorer.label,) not in done:
            with watch(run, f"puzzles by {scorer.label}", len(known), console=console) as tools.advance:
                values = _values(scorer, known, tools)
            with run.workspace.write() as db:
                append(db, "bench", rows(scorer.label, values, run.run, tools.seed))


def _values(scorer: Choice, known: Sequence[Puzzle], tools: Tools) -> list[list[float]]:
    """For each puzzle that was judged, the score of the true explanation, then of each false one."""
    questions = [Question((one.explanation, *one.false), one.windows) for one in known]
    answers = parts.load("autointerp.scorers", scorer.name).judge(questions, tools, scorer.options)
    found: list[list[float]] = []
    for question, answer in zip(questions, answers, strict=True):
        values = [v.value for v in read(answer, question.windows, len(question.texts)).values]
        if all(value is not None for value in values):
            found.append([float(value) for value in values if value is not None])
    return found


def rows(method: str, values: Sequence[Sequence[float]], run: str, seed: int) -> list[dict[str, Any]]:
    """The rows of `bench` for one scorer, from its scores of each puzzle's explanations, the true one first."""
    if not values:
        return []
    best = [float(one[0] == max(one)) / sum(v == max(one) for v in one) for one in values]
    near = [float(np.mean(one[1:])) for one in values]
    chance = float(np.mean([1 / len(one) for one in values]))
    columns = {
        "true one is best": (best, chance),
        "score of the true one": ([one[0] for one in values], float(np.mean(near))),
        "score of near misses": (near, None),
        "true - near misses": ([one[0] - n for one, n in zip(values, near, strict=True)], 0.0),
    }
    common = {"task": "all", "site": SITE, "method": method, "trials": len(values), "run": run}
    return [
        common
        | {"metric": name, "value": e.value, "lower": stored(e.lower), "upper": stored(e.upper), "control": control}
        for name, (found, control) in columns.items()
        for e in [mean(found, seed)]
    ]
