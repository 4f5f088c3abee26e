"""Texts with a label and a cue: coinciding in training, independent in the test.

1. `portraits` makes them up: what a professor or a nurse does (the label, never named) and he or she (the cue), in words of
   our own. What somebody does in the test is never what somebody does in training, while the pronouns stay: a probe that
   has learned the cue finds it again. The setting is Bias in Bios' as used in arXiv 2403.19647, section 4.
2. The parts: `train` has only the groups in which label and cue coincide; `balanced` and `test` have all four alike;
   `neutral` says nothing of the label, and the same sentence once with each cue.
3. `read` takes a user's own from .jsonl.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import Mistake, unknown

PARTS = ("train", "balanced", "test", "neutral")


@dataclass(frozen=True)
class Text:
    """A text, its label and its cue (each 0 or 1)."""

    text: str
    label: int
    cue: int

    @property
    def group(self) -> int:
        """Which of the four combinations of label and cue."""
        return 2 * self.label + self.cue


NAMES = (
    ("James", "Peter", "Henry", "Robert", "Thomas", "Edward", "Paul", "Daniel", "George", "Frank", "Simon", "Walter"),
    ("Mary", "Anna", "Helen", "Julia", "Susan", "Alice", "Laura", "Emma", "Martha", "Clara", "Rose", "Nancy"),
)
FORMS = (
    {"they": "he", "They": "He", "their": "his", "them": "him"},
    {"they": "she", "They": "She", "their": "her", "them": "her"},
)
WORK = (
    (
        "{They} gave a lecture on the trade of the old cities.", "{They} marked essays until late in the evening.",
        "A paper by {them} was printed in a journal of physics.", "{They} spent the summer in the archive, writing.",
        "{They} led a seminar on early philosophy.", "Two students asked {them} to read their thesis.",
        "{They} applied for a grant to study ancient languages.", "{They} spoke at a conference on mathematics.",
        "The faculty asked {them} to teach statistics.", "{They} edited a book on the theory of music.",
        "{They} supervised three doctoral candidates.", "{They} had a chair at the university for ten years.",
        "{They} set the questions for the final exam.", "The library kept a desk for {them} among the manuscripts.",
        "{They} reviewed an article on medieval law.", "{They} explained the proof on the blackboard.",
    ),
    (
        "{They} took the temperature of every patient.", "{They} changed the bandage on a broken arm.",
        "{They} worked the night shift on the children's ward.", "{They} gave the injection without any pain.",
        "{They} measured the blood pressure twice.", "The surgeon asked {them} to prepare the patient.",
        "{They} comforted a man before the operation.", "{They} brought the medicine at six.",
        "The clinic asked {them} to look after the newborns.", "{They} wrote the doses on the chart.",
        "{They} cleaned the wound and closed it.", "{They} helped an old woman out of the hospital bed.",
        "{They} checked the drip in the emergency room.", "The doctor on duty called {them} to the bedside.",
        "{They} vaccinated forty people before noon.", "{They} wheeled the patient to the ward.",
    ),
)  # fmt: skip
LIFE = (
    "{They} walked home in the rain.", "{They} said that {they} was tired.", "{They} cooked for {their} friends.",
    "{They} has a brother who lives by the sea.", "{They} forgot {their} umbrella on the train.",
    "{They} likes long walks.", "On Sundays {they} slept until ten.", "{They} painted {their} kitchen yellow.",
    "Everyone was glad to see {them}.", "{They} bought a coat for the winter.", "{They} grew up in a small town.",
    "{They} told me that {they} would move next year.", "{They} lost {their} keys and found them again.",
    "{They} laughed when {they} heard it.", "{They} kept {their} word.",
    "A neighbour gave {them} a cat.",
)  # fmt: skip


def portraits(train: int, test: int, seed: int) -> dict[str, list[Text]]:
    """All parts, each in an order fixed by `seed`; as many neutral texts as a fifth of the training ones, at least 16."""
    rng = random.Random(seed)
    same = ((0, 0), (1, 1))
    every = tuple(itertools.product((0, 1), (0, 1)))
    return {
        "train": _texts(train, same, 0, rng),
        "balanced": _texts(train, every, 0, rng),
        "test": _texts(test, every, 1, rng),
        "neutral": _neutral(max(16, train // 5), rng),
    }


def _texts(count: int, groups: Sequence[tuple[int, int]], half: int, rng: random.Random) -> list[Text]:
    """`count` different texts in turn from each group; `half` says which half of what people do."""
    found: dict[str, Text] = {}
    turn = itertools.cycle(groups)
    while len(found) < count:
        label, cue = next(turn)
        text = _portrait(label, cue, half, rng)
        while text in found:
            text = _portrait(label, cue, half, rng)
        found[text] = Text(text, label, cue)
    return list(found.values())


def _portrait(label: int, cue: int, half: int, rng: random.Random) -> str:
    """A name, something of life, something of work, something of life."""
    sentences = [rng.choice(LIFE), rng.choice(WORK[label][half::2]), rng.choice(LIFE)]
    name = rng.choice(NAMES[cue])
    return " ".join([f"This is about {name}.", *(s.format_map(FORMS[cue]) for s in sentences)])


def _neutral(count: int, rng: random.Random) -> list[Text]:
    """The same words twice, once with each cue; the label means nothing."""
    found: list[Text] = []
    while len(found) < count:
        sentences, names = rng.sample(LIFE, 3), rng.randrange(len(NAMES[0]))
        for cue in (0, 1):
            words = [f"This is about {NAMES[cue][names]}.", *(s.format_map(FORMS[cue]) for s in sentences)]
            found.append(Text(" ".join(words), 0, cue))
    return found


def read(path: str) -> dict[str, list[Text]]:
    """The parts of a .jsonl file. Raises `Mistake` when a line is not a text, or a part lacks a group that it needs."""
    found: dict[str, list[Text]] = {part: [] for part in PARTS}
    for number, line in enumerate(_lines(path), 1):
        part, text = _parsed(line, f"line {number} of {path!r}")
        found[part].append(text)
    for part, groups in (("train", {0, 3}), ("balanced", {0, 1, 2, 3}), ("test", {0, 1, 2, 3})):
        missing = groups - {text.group for text in found[part]}
        if missing:
            where = ", ".join(f"label {g // 2} with cue {g % 2}" for g in sorted(missing))
            raise Mistake(f"The part {part!r} of {path!r} has no text of {where}; every group needs some.")
    return found


def _lines(path: str) -> Iterator[str]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(
            f"The texts {path!r} cannot be read ({type(error).__name__}); give a .jsonl file in UTF-8."
        ) from error
    return (line for line in text.splitlines() if line.strip())


def _parsed(line: str, where: str) -> tuple[str, Text]:
    try:
        record: Mapping[str, Any] = json.loads(line)
        part, text, label, cue = (record[key] for key in ("part", "text", "label", "cue"))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise Mistake(f"{where.capitalize()} should be an object with text, label, cue and part.") from error
    if part not in PARTS:
        raise unknown(f"part in {where}:", str(part), PARTS)
    if not isinstance(text, str) or not text.strip() or label not in (0, 1) or cue not in (0, 1):
        raise Mistake(f"{where.capitalize()} needs a text, and 0 or 1 as label and as cue.")
    return part, Text(text, int(label), int(cue))
