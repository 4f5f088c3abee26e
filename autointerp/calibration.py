"""How far a judge is to be believed: it is asked about planted features, whose truth is known.

1. A planted feature is a pattern of tokens of the harvest's own text (`PLANTED`), some of form and some of topic. It is
   used where enough windows of the `score` half have it and enough have not.
2. The same scorer with the same settings judges each pattern's description, and as control that of another pattern, on
   such windows. The card is the mean over patterns of value, control and difference, with a bootstrap over documents
   within each, and the judge's recall and fallout, its share of yes and its agreement with itself.
3. A card is made once for a scorer and a model, and kept in the table `bench`. A judge for whom right and swapped
   descriptions of planted features are the same cannot tell features apart: its scores say so.
4. With recall se and fallout 1 - sp the share of windows that get a yes, q, is corrected to the share of which the label
   is true: (q + sp - 1) / (se + sp - 1) (Rogan and Gladen 1978); it is refused where se + sp - 1 is below `LEAST`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from autointerp.assess import Sample, usable
from autointerp.bootstrap import clusters, compared, weights
from autointerp.examples import Reader, Window
from autointerp.judgements import Judgement, Outcome, Question
from autointerp.measures import share, verdicts
from autointerp.tools import Tools
from data import parts
from data.parts import Choice
from data.store import Workspace, append
from data.words import Estimate

TASK = "planted features"
WINDOWS = 16
"""Windows of each planted feature, half of them with it."""
LENGTH = 12
"""Tokens in a window."""
FEATURES = 6
FEWEST = 3
"""Planted features below which nothing is said of a judge."""
DOCUMENTS = 500
LEAST = 0.2
BLIND = "this judge cannot tell planted features apart"
SCORERS = "autointerp.scorers"


@dataclass(frozen=True)
class Planted:
    """A feature that is active at tokens which, without surrounding space, match `pattern`, whatever their case."""

    text: str
    pattern: str

    def fires(self, tokens: Sequence[str]) -> Float[np.ndarray, " tokens"]:
        """1 where it is active, else 0."""
        matches = re.compile(self.pattern, re.IGNORECASE).fullmatch
        return np.array([float(matches(token.strip()) is not None) for token in tokens])


PLANTED = (
    Planted("numbers and digits", r"\d+"),
    Planted(
        "family: mother, father, sister, brother, son",
        "(mother|father|sister|brother|son|daughter|uncle|wife|husband)s?",
    ),
    Planted('the words "his" and "her"', "his|her"),
    Planted("water: river, lake, sea, ship, boat", "(river|lake|sea|ship|boat|water|rain|wave)s?"),
    Planted("question marks", r"\W*\?\W*"),
    Planted("colours: red, green, blue, white, black", "red|green|blue|white|black|yellow|brown|grey"),
    Planted("parts of the body: hand, eye, head, face", "(hand|eye|head|face|heart|foot|arm|finger)s?"),
    Planted("war: army, soldier, battle, gun", "war|army|soldiers?|battles?|guns?|enemy|swords?|fort"),
    Planted("money: pay, price, buy, dollar", "money|pay|paid|prices?|buy|dollars?|coins?|bank|cost|gold"),
    Planted('the word "and"', "and"),
    Planted("negation: not, never, no, nothing", "not|never|no|nothing|none"),
    Planted('the word "the"', "the"),
)
"""In the order in which they are tried; the last few are found in any English text."""


@dataclass(frozen=True)
class Card:
    """What a judge made of planted features: means over them."""

    value: Estimate
    control: Estimate
    difference: Estimate
    trials: int
    recall: float | None = None
    """The share of yes where the feature is (of a judge of yes and no)."""
    fallout: float | None = None
    """The share of yes where it is not."""
    yes: float | None = None
    """The share of yes over right and swapped descriptions."""
    agreement: float | None = None

    @property
    def blind(self) -> bool:
        """Whether right and swapped descriptions of planted features are the same to the judge."""
        return not self.difference.lower > 0

    def record(self) -> dict[str, Any]:
        """As JSON, for the `details` of a row."""
        numbers = {name: getattr(self, name) for name in ("recall", "fallout", "yes", "agreement", "trials")}
        estimates = {name: getattr(self, name) for name in ("value", "control", "difference")}
        return {
            name: [round(e.value, 4), round(e.lower, 4), round(e.upper, 4)] for name, e in estimates.items()
        } | numbers


def card_of(reader: Reader, scorer: Choice, judge: str, tools: Tools, run: str) -> Card | str:
    """The card of `judge` (a model, or "") by `scorer`: the one that is kept, or a new one; or why there is none."""
    if kept := find(tools.workspace, scorer.label, judge):
        return kept
    questions = planted(reader, tools.seed)
    if len(questions) < FEWEST:
        return f"the text has {len(questions)} of the planted features often enough; {FEWEST} are needed"
    answers = list(parts.load(SCORERS, scorer.name).judge(questions, tools, scorer.options))
    found = drawn_up(questions, answers, tools.seed)
    if isinstance(found, Card):
        keep(tools.workspace, scorer.label, judge, found, run)
    return found


def planted(reader: Reader, seed: int) -> list[Question]:
    """At most `FEATURES` questions, each with the description of a planted feature and that of the next one."""
    draw = np.random.default_rng(seed)
    tiles = _tiles(reader, draw)
    found = [(one, windows) for one in PLANTED if (windows := _windows(one, tiles, draw))][:FEATURES]
    texts = [one.text for one, _ in found]
    first = [next(w for w in windows if w.active) for _, windows in found]
    return [
        Question((texts[n], texts[(n + 1) % len(texts)]), windows, strangers=[*first[:n], *first[n + 1 :]])
        for n, (_, windows) in enumerate(found)
    ]


def _tiles(reader: Reader, draw: np.random.Generator) -> list[Window]:
    """Windows of some documents of the `score` half, in random order, without activations."""
    halves = reader.documents.column("half").to_pylist()
    rows = np.array([row for row, half in enumerate(halves) if half == "score"], dtype=np.int64)
    found: list[Window] = []
    for row in draw.permutation(rows)[:DOCUMENTS].tolist():
        ids, text = (reader.documents.column(name)[row].as_py() for name in ("ids", "text"))
        document = int(reader.documents.column("document")[row].as_py())
        for start in range(0, len(ids) - LENGTH + 1, LENGTH):
            piece = slice(start, start + LENGTH)
            found.append(Window(document, start, tuple(ids[piece]), tuple(text[piece]), (0.0,) * LENGTH, "score"))
    return [found[at] for at in draw.permutation(len(found))]


def _windows(one: Planted, tiles: Sequence[Window], draw: np.random.Generator) -> list[Window]:
    """`WINDOWS` of `tiles` with the feature's activations, half of them active; none where there are not enough."""
    sorts: dict[bool, dict[tuple[int, ...], Window]] = {True: {}, False: {}}
    for tile in tiles:
        values = one.fires(tile.tokens)
        sort = sorts[bool(values.any())]
        if len(sort) < WINDOWS // 2:
            kind = "active" if values.any() else "random"
            made = Window(tile.document, tile.start, tile.ids, tile.tokens, tuple(values.tolist()), tile.half, kind)
            sort.setdefault(tile.ids, made)
    some = [*sorts[True].values(), *sorts[False].values()]
    return [some[at] for at in draw.permutation(len(some))] if len(some) == WINDOWS else []


def drawn_up(questions: Sequence[Question], answers: Sequence[Judgement | Outcome], seed: int) -> Card | str:
    """The card that `answers` to questions about planted features make, or why they make none."""
    read = [_draws(q, a, seed + n) for n, (q, a) in enumerate(zip(questions, answers, strict=True))]
    kept = [one for one in read if one is not None and not np.isnan(one.draws[:, 0]).any()]
    if len(kept) < FEWEST:
        reasons = sorted({reason for answer in answers for reason in answer.failures})[:2]
        return f"{len(kept)} of {len(questions)} planted features were judged: {'; '.join(reasons) or 'no judgement'}"
    found = compared(np.nanmean(np.stack([one.draws for one in kept]), 0), sum(one.clusters for one in kept))
    assert found.control is not None
    assert found.difference is not None
    rates = _rates(questions, answers, seed) | {"agreement": _mean([a.agreement for a in answers])}
    return Card(found.value, found.control, found.difference, len(kept) * WINDOWS, **rates)


@dataclass(frozen=True, eq=False)
class Redrawn:
    """The score of each text in each draw of documents [texts, draws], and of how many documents."""

    draws: np.ndarray
    clusters: int


def _draws(question: Question, answer: Judgement | Outcome, seed: int) -> Redrawn | None:
    """None where too little was judged."""
    if isinstance(answer, Outcome):
        documents = answer.documents
        return Redrawn(answer.statistic(weights(documents, seed)), clusters(documents)) if len(documents) else None
    sample = _sample(question, answer, seed)
    return None if sample is None else Redrawn(sample.draws, sample.clusters)


def _sample(question: Question, answer: Judgement, seed: int) -> Sample | None:
    items, kept = list(question.windows if answer.items is None else answer.items), usable(answer)
    left = [item for item, ok in zip(items, kept, strict=True) if ok]
    if len(left) * 2 <= len(items) or len({item.active for item in left}) < 2:
        return None
    return Sample.of(answer.values[:, kept], left, seed)


def _rates(questions: Sequence[Question], answers: Sequence[Judgement | Outcome], seed: int) -> dict[str, float | None]:
    """Recall and fallout for right descriptions, and the share of yes over all, as means over planted features."""
    rows: list[tuple[float, float, float]] = []
    for question, answer in zip(questions, answers, strict=True):
        sample = _sample(question, answer, seed) if isinstance(answer, Judgement) else None
        if sample is not None and isinstance(answer, Judgement):
            said = verdicts(sample.values[0], sample.truth, sample.documents, answer.threshold, seed).said
            once = sample.drawn[:1]
            yes = said.mean() if answer.threshold is None else (sample.values > answer.threshold).mean()
            rows.append(
                (float(share(said, sample.truth, once)[0]), float(share(said, ~sample.truth, once)[0]), float(yes))
            )
    return {name: _mean([row[n] for row in rows]) for n, name in enumerate(("recall", "fallout", "yes"))}


def _mean(found: Sequence[float | None]) -> float | None:
    known = [number for number in found if number is not None]
    return round(float(np.mean(known)), 4) if known else None


def keep(workspace: Workspace, scorer: str, judge: str, card: Card, run: str) -> None:
    """Stores a card as rows of `bench`."""
    common = {"task": TASK, "site": judge, "method": scorer, "trials": card.trials, "run": run}
    estimates = {"value": card.value, "control": card.control, "difference": card.difference}
    rows: list[dict[str, Any]] = [
        {"metric": name, "value": e.value, "lower": e.lower, "upper": e.upper} for name, e in estimates.items()
    ]
    numbers = {name: getattr(card, name) for name in ("recall", "fallout", "yes", "agreement")}
    empty = {"lower": None, "upper": None}
    rows += [{"metric": name, "value": value} | empty for name, value in numbers.items() if value is not None]
    with workspace.write() as db:
        db.execute("delete from bench where task = ? and site = ? and method = ?", [TASK, judge, scorer])
        append(db, "bench", [common | {**row, "control": card.control.value} for row in rows])


def find(workspace: Workspace, scorer: str, judge: str) -> Card | None:
    """The card that is kept of `judge` by `scorer`."""
    query = "select metric, value, lower, upper, trials from bench where task = ? and site = ? and method = ?"
    with workspace.read() as db:
        rows = db.execute(query, [TASK, judge, scorer]).fetchall()
    if not rows:
        return None
    known = {metric: row for metric, *row in rows}
    value, control, difference = (Estimate(*known[name][:3]) for name in ("value", "control", "difference"))
    numbers = {name: known[name][0] for name in ("recall", "fallout", "yes", "agreement") if name in known}
    return Card(value, control, difference, rows[0][4], **numbers)


def corrected(yes: float, card: Card) -> float | None:
    """The share of windows of which a label is true, when a share `yes` of them gets a yes; None where refused."""
    if card.recall is None or card.fallout is None or card.recall - card.fallout < LEAST:
        return None
    return float(np.clip((yes - card.fallout) / (card.recall - card.fallout), 0, 1))


def marked(columns: dict[str, Any], judge: str, card: Card | str | None) -> dict[str, Any]:
    """The columns of a score with what is known of its judge."""
    details = dict(columns["details"])
    found: dict[str, Any] = {"judge": judge or None, "judge_difference": None, "judge_lower": None, "judge_upper": None}
    if isinstance(card, str):
        details["remarks"] = [*details.get("remarks", []), f"the judge was not calibrated: {card}"]
    if isinstance(card, Card):
        details["judge"] = card.record()
        details["remarks"] = [*details.get("remarks", []), *([BLIND] if card.blind else [])]
        difference = card.difference
        found |= {
            "judge_difference": difference.value,
            "judge_lower": difference.lower,
            "judge_upper": difference.upper,
        }
        if "prevalence" in details.get("rates", {}):
            true = corrected(details["rates"]["prevalence"], card)
            details["rates"] = details["rates"] | {"corrected": true}
    return columns | found | {"details": details}
