"""Judging: detection and fuzzing beside delphi's, before one judge, on planted features: what they ask and how they rank.

1. Features with known rules are planted in text (`autointerp/ground`), and each has a ladder of labels from right to wrong.
2. The judge is a server of this process. It takes a label at its word, runs its rule on the passage it is shown, and errs
   on one answer in ten, always the same: a good reader with noise. It counts the tokens of all messages. Asked about a
   passage again, in another order, it says the same again: what two orders are for, such a judge has not.
3. Ours is `lacewing bench-autointerp`. Delphi's two scorers run as they are, in an environment of their own, with its own
   numbers: 50 active and 50 silent windows, five a request. It is given our windows, which are shorter than its own.
4. A label's score is the mean of both scorers' scores: ours the AUROC, delphi's the balanced accuracy. Rank orders are
   Spearman's, over all labels of all features. Delphi against itself on other windows says what could be reached.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import endpoint
import numpy as np
from bench.harness import Setting, Table
from bench.work import FOLDER, interpreter
from scipy.stats import spearmanr

from autointerp.bench_config import BenchAutointerpConfig
from autointerp.ground import bench
from autointerp.ground.corpus import TOKEN, Corpus, corpus
from autointerp.ground.judging import Trial
from autointerp.ground.ladder import GENERIC, INJECTION
from autointerp.ground.planted import Planting, planted
from autointerp.rule import Rule, plain
from data.models import Subject
from data.store import Workspace
from data.words import digest

Key = tuple[int, str]
"""A planted feature's number and the name of a label of its ladder."""
Scores = Mapping[Key, float]
FLIPPED = 0.1
SHOWN = 5
"""Passages in a request of delphi's: its default."""
HALF = 50
"""Active windows, and silent ones, that delphi judges: its default."""
MARKS = {"lacewing": ("«", "»"), "delphi": ("<<", ">>")}


@dataclass(eq=False)
class Judge:
    """A reader of labels: what each means, and what it has been asked by whom."""

    meanings: Mapping[str, Rule | bool | frozenset[str]]
    """For each label its rule, the words of a list, or whether it says that the feature is active everywhere."""
    subject: Subject
    tokens: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> Judge:
        """A judge that knows the labels of `trials`."""
        meanings: dict[str, Rule | bool | frozenset[str]] = {GENERIC: True, INJECTION: True, "": False}
        for trial in trials:
            for rated in trial.rungs:
                name, text = rated.rung.name, rated.rung.text
                if name == "list":
                    meanings[text] = frozenset(text.split(", "))
                elif text not in meanings:
                    meanings[text] = getattr(trial.feature, "rule" if name == "exact" else name)
        return cls(meanings, Subject.open(BenchAutointerpConfig.judge))

    def __call__(self, body: Mapping[str, Any], _: int) -> endpoint.Reply:
        """The answer to a request of either side, in its own form."""
        side, messages = body["model"], body["messages"]
        with self.lock:
            self.tokens[side] += sum(self.count(message["content"]) for message in messages)
            self.requests[side] += 1
        last = messages[-1]["content"]
        if side == "delphi":
            label, passages = theirs(last)
            return endpoint.says(json.dumps([int(self.active(side, label, one)) for one in passages]))
        asked = json.loads(last)
        said = [self.active(side, asked["explanation"], one) for one in asked["passages"]]
        return endpoint.says(json.dumps({"active": said}))

    @functools.cache  # noqa: B019  one judge a run, and the same prompts again and again
    def count(self, text: str) -> int:
        return len(self.subject.tokenize(text))

    @functools.cache  # noqa: B019
    def active(self, side: str, label: str, passage: str) -> bool:
        """Whether the label holds in the passage, or at its marks if it has some; wrong on `FLIPPED` of passages."""
        before, behind = MARKS[side]
        pieces = re.split(f"({before}|{behind})", passage)
        places, inside, at = set[int](), False, 0
        for piece in pieces:
            if piece in (before, behind):
                inside = piece == before
                continue
            places |= set(range(at, at + len(piece))) if inside else set()
            at += len(piece)
        clean = "".join(piece for piece in pieces if piece not in (before, behind))
        found = list(TOKEN.finditer(clean))
        fired = self.fires(label, [one.group() for one in found])
        marked = np.array([any(c in places for c in range(*one.span())) for one in found], dtype=bool)
        right = bool(fired[marked].mean() >= 0.5) if marked.any() else bool(fired.any())
        return right != (int(digest("flip", label, passage, length=8), 16) / 16**8 < FLIPPED)

    def fires(self, label: str, tokens: Sequence[str]) -> np.ndarray:
        meaning = self.meanings[label]
        if isinstance(meaning, Rule):
            return meaning.fires(tokens)
        if isinstance(meaning, frozenset):
            return np.array([plain(token) in meaning for token in tokens], dtype=bool)
        return np.full(len(tokens), meaning)


def theirs(text: str) -> tuple[str, list[str]]:
    """The label and the passages of a prompt of delphi's."""
    label, _, rest = text.partition("\n\nText examples:\n\n")
    _, *passages = re.split(r"(?:\A|\n)Example \d+: ", rest.removesuffix("\n"))
    return label.removeprefix("Latent explanation: "), passages


@dataclass(frozen=True)
class Judged:
    """What a side made of all labels, and what it asked for one of them."""

    scores: Scores
    tokens: float
    requests: float


def tables(setting: Setting) -> Iterator[Table]:
    config = BenchAutointerpConfig(
        explainers="token_lift", negatives="random", others=False, features=setting.of(3, 1),
        tokens=setting.of(BenchAutointerpConfig.tokens, 30_000),
    )  # fmt: skip
    columns = (
        "side", "windows", "orders", "tokens a label", "of delphi's", "requests a label", "rank order beside delphi's",
        "beside the true F1",
    )  # fmt: skip
    table = Table("Detection and fuzzing of planted features before one judge", columns)
    text = corpus(config.text, config.tokens)
    planting = planted(text, config.kinds, config.features, config.seed)
    whole = replace(config, windows=2 * HALF)
    trials = drawn(text, planting, whole)
    judge = Judge.of(trials)
    worth = {(t.feature.latent, r.rung.name): r.truth.f1 for t in trials for r in t.rungs}
    with endpoint.serve(judge) as (address, _):
        first = delphi(trials, judge, address)
        table.rows.append(("delphi", 2 * HALF, 1, *_row(first, first, worth)))
        again = delphi(drawn(text, planting, replace(whole, seed=1)), judge, address)
        table.rows.append(("delphi, other windows", 2 * HALF, 1, *_row(again, first, worth)))
        for windows, orders in setting.of(((32, 2), (32, 1), (100, 2), (100, 1)), ((10, 1),)):
            found = lacewing(replace(config, windows=windows), orders, judge, address)
            table.rows.append(("lacewing", windows, orders, *_row(found, first, worth)))
    table.notes.append(
        f"{len(trials)} planted features, {len(first.scores)} labels. The judge takes a label at its word and errs on "
        f"{FLIPPED:.0%} of its answers. Tokens are those of prompts, by the tokenizer of {config.judge}; a control, which "
        "`lacewing score` has and delphi has not, would ask ours once more. Windows: half active, half "
        "silent, fewer where a feature has not so many."
    )
    yield table


def _row(found: Judged, first: Judged, worth: Scores) -> tuple[object, ...]:
    return (
        found.tokens, round(found.tokens / first.tokens, 3), found.requests, correlation(found.scores, first.scores),
        correlation(found.scores, worth),
    )  # fmt: skip


def correlation(one: Scores, other: Scores) -> float:
    """Spearman's, over the labels that both have a score of."""
    common = sorted(one.keys() & other.keys())
    found: Any = spearmanr([one[key] for key in common], [other[key] for key in common])
    return round(float(found.statistic), 3)


def drawn(text: Corpus, planting: Planting, config: BenchAutointerpConfig) -> list[Trial]:
    """The planted features that have windows enough, with their ladders and the windows that the config draws."""
    with tempfile.TemporaryDirectory(prefix="lacewing-judging-") as folder:
        return [t for t in bench.prepare(Path(folder), text, planting, config).trials if t.question]


def lacewing(config: BenchAutointerpConfig, orders: int, judge: Judge, address: str) -> Judged:
    """Our scorers, by the verb."""
    before = judge.tokens["lacewing"], judge.requests["lacewing"]
    os.environ |= {"OPENAI_BASE_URL": address, "OPENAI_MODEL": "lacewing", "OPENAI_API_KEY": "none"}
    scorers = ",".join(f"{name}:orders={orders}" for name in ("detection", "fuzzing"))
    with tempfile.TemporaryDirectory(prefix="lacewing-judging-") as folder:
        workspace = Workspace.open(Path(folder) / "workspace", create=True)
        bench.bench(workspace, replace(config, scorers=scorers, llm_requests=1_000_000, llm_parallel=8))
        with workspace.read() as db:
            rows = db.execute(
                "select latent, rung, avg(value) from ground where method <> 'executed' "
                "group by all having count(value) = 2"
            ).fetchall()
    scores = {(latent, rung): value for latent, rung, value in rows}
    return _judged(scores, judge, "lacewing", before)


def _judged(scores: Scores, judge: Judge, side: str, before: tuple[int, int]) -> Judged:
    tokens, requests = judge.tokens[side] - before[0], judge.requests[side] - before[1]
    return Judged(scores, tokens / len(scores), requests / len(scores))


def delphi(trials: Sequence[Trial], judge: Judge, address: str) -> Judged:
    """Delphi's scorers, in a process of their own."""
    before = judge.tokens["delphi"], judge.requests["delphi"]
    task = {"address": address, "shown": SHOWN, "features": [_feature(trial) for trial in trials]}
    with tempfile.TemporaryDirectory(prefix="lacewing-judging-") as folder:
        path = Path(folder) / "task.json"
        path.write_text(json.dumps(task))
        program = FOLDER / "sides" / "judging_with_delphi.py"
        command = [str(interpreter("delphi")), "-W", "ignore", str(program), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"delphi failed:\n{done.stderr[-3000:]}")
    rows = json.loads(done.stdout.splitlines()[-1])
    failed = sum(row["failed"] for row in rows)
    if failed:
        raise SystemExit(f"delphi could not read {failed} answers.")
    scores = {(row["latent"], row["label"]): (row["detection"] + row["fuzz"]) / 2 for row in rows}
    return _judged(scores, judge, "delphi", before)


def _feature(trial: Trial) -> dict[str, Any]:
    """A feature as delphi's side takes it: whole requests of windows, for of an incomplete one it reads no answer."""
    sides = ([w for w in trial.windows if w.active], [w for w in trial.windows if not w.active])
    count = min(HALF, *map(len, sides)) // SHOWN * SHOWN
    windows = [
        {"tokens": list(w.tokens), "values": [float(v) for v in w.values]} for side in sides for w in side[:count]
    ]
    labels = {rated.rung.name: rated.rung.text for rated in trial.rungs}
    return {"latent": trial.feature.latent, "labels": labels, "active": windows[:count], "silent": windows[count:]}
