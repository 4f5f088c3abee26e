"""A harvest with planted features: documents of English words and rules that decide where each latent fires."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from autointerp.examples import Window
from autointerp.records import Explanation
from autointerp.shards import Activations, Files
from data import runs
from data.store import Workspace, append
from data.words import Feature

HARVEST = "planted"
DICTIONARY = "d1c7"
Rule = Callable[[Sequence[str], int], float]

TOPICS = {
    "water": "the boat went down the river past the lake and the sea under a wet cloud of rain",
    "colour": "she painted the wall red then green and blue with a yellow door and a white roof",
    "money": "he paid ten coins at the bank to buy gold and sold his bonds for a large price",
    "family": "my mother and father met my sister with her uncle and a cousin of the family",
    "war": "the soldiers marched to battle with swords and the army fired guns at the fort",
    "food": "we cooked bread and soup with cheese then ate apples and drank tea at the table",
}


def word_rule(*words: str) -> Rule:
    return lambda tokens, at: (2.0 + words.index(tokens[at].strip())) if tokens[at].strip() in words else 0.0


RULES: dict[int, Rule] = {
    0: word_rule("river", "lake", "sea"),
    1: word_rule("red", "green", "blue"),
    2: lambda tokens, at: 1.0 if at and tokens[at - 1].strip() == "his" else 0.0,
    3: lambda tokens, at: 0.0,
    4: lambda tokens, at: 1.0 if tokens[at].strip() == "unicorn" else 0.0,
    5: lambda tokens, at: 1.0,
    6: word_rule("mother", "father", "sister", "uncle", "cousin"),
}
"""0 and 1 and 6: sets of words; 2: after a word; 3: dead; 4: rare; 5: everywhere."""
EXPLANATIONS = {
    0: "river, lake, sea, water",
    1: "colours: red, green, blue",
    6: "mother, father, sister, uncle, cousin",
}


@dataclass(frozen=True)
class Document:
    number: int
    half: str
    tokens: list[str]


def documents(count: int = 60, seed: int = 0) -> list[Document]:
    """Documents of 8 sentences, each sentence of one topic; the two halves alternate."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        words = [w for _ in range(8) for w in _sentence(draw)]
        if number in (0, 1):
            words[5] = "unicorn"
        made.append(Document(number, ("explain", "score")[number % 2], [f" {word}" for word in words]))
    return made


def _sentence(draw: random.Random) -> list[str]:
    words = TOPICS[draw.choice(sorted(TOPICS))].split()
    start = draw.randrange(4)
    return [*words[start : start + draw.randrange(9, 13)], "then"]


def harvest(workspace: Workspace, made: list[Document] | None = None) -> None:
    """Writes the planted harvest: parts, and rows for its dictionary, harvest and features."""
    made = made or documents()
    files = Files(workspace, HARVEST)
    _write_tokens(files, made)
    activations = _activations(made)
    files.write(files.part(DICTIONARY, 0), activations.table(token=False), group=500)
    with runs.start(workspace, "harvest", {"planted": True}) as run:
        _write_rows(workspace, run.run, made, activations)


def _write_tokens(files: Files, made: list[Document]) -> None:
    vocabulary = sorted({token for d in made for token in d.tokens})
    ids = {token: number for number, token in enumerate(vocabulary)}
    table = {
        "document": pa.array([d.number for d in made], pa.int32()),
        "half": pa.array([d.half for d in made]),
        "ids": pa.array([[ids[t] for t in d.tokens] for d in made], pa.list_(pa.int32())),
        "text": pa.array([d.tokens for d in made], pa.list_(pa.string())),
    }
    files.write(files.tokens(0), pa.table(table))


def _activations(made: list[Document]) -> Activations:
    rows = [
        (latent, d.number, at, value)
        for latent, rule in RULES.items()
        for d in made
        for at in range(len(d.tokens))
        if (value := rule(d.tokens, at)) > 0
    ]
    latent, document, position, value = (np.array(column) for column in zip(*rows, strict=True))
    whole = [column.astype(np.int32) for column in (latent, document, position)]
    return Activations(*whole, value.astype(np.float32), np.zeros(len(rows), np.int32))


def _write_rows(workspace: Workspace, run: str, made: list[Document], activations: Activations) -> None:
    tokens = sum(len(d.tokens) for d in made)
    counts = np.bincount(activations.latent, minlength=len(RULES))
    top = [["happy", 2.0], [" bright", 1.5], ["...", 1.0]]
    with workspace.write() as db:
        append(db, "dictionaries", [{"dictionary": DICTIONARY, "name": "planted", "model": "m", "site": "resid_post:1",
            "layer": 1, "architecture": "topk", "latents": len(RULES), "run": run, "metrics": {}}])  # fmt: skip
        append(db, "harvests", [{"harvest": HARVEST, "dictionary": DICTIONARY, "model": "m", "documents": len(made),
            "tokens": tokens, "run": run}])  # fmt: skip
        append(db, "features", [
            {"dictionary": DICTIONARY, "latent": latent, "density": counts[latent] / tokens, "max_activation": 1.0,
             "statistics": {"top_logits": top, "firings": int(counts[latent])}}
            for latent in RULES
        ])  # fmt: skip


def told(name: str, latent: int = 0) -> Explanation:
    """An explanation of no harvest's feature, by the name of its text."""
    return Explanation(name, Feature("d", latent), name)


def window(number: int, kind: str = "active", quantile: int = -1) -> Window:
    """A window of one token of no harvest, two to a document."""
    value = 1.0 if kind == "active" else 0.0
    return Window(number // 2, number, (number,), (f" {number}",), (value,), "score", kind, quantile)
