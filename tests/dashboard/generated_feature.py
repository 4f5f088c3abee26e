"""The generated workspace with everything that can be stored about a feature: latent 0 of the first dictionary.

`SECRET` stands in every text that says what a feature is, so that a page can be searched for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import generated
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from generated import BIDI, HARVEST, IMAGE
from safetensors.numpy import save_file

from data.store import Workspace, append
from data.words import Feature

SECRET = "zebrafish"
RULE = {"kind": "token", "options": {"token": SECRET}}
JUDGED = "judged0000000001"
FAILED = "failed0000000001"
HUMAN = "human00000000001"
COPY = 99
"""The number of a document that repeats another."""


@dataclass(frozen=True)
class Everything:
    """What a test may want to name."""

    workspace: Workspace
    feature: Feature
    beside: Feature
    other: str
    """The other dictionary."""


def make(folder: Path) -> Everything:
    """Writes the workspace into `folder`."""
    made = generated.make(folder)
    one, other = made.dictionaries.values()
    feature = Feature(one, 0)
    with made.workspace.write() as db:
        db.execute(f"update explanations set text = '{SECRET} ' || text where text is not null")
        append(db, "explanations", [_judged(feature), _failed(feature), _human(feature)])
        append(db, "explanations", [_same(Feature(other, latent)) for latent in (70, 71, 72)])
        append(db, "scores", [_score(name, **more) for name, more in SCORES.items()])
        append(
            db, "counterexamples", [_counter(feature, kind, rank) for kind in ("silent", "missed") for rank in (1, 2)]
        )
        append(db, "findings", _findings(feature))
        append(db, "matches", [_match(feature, Feature(other, 44))])
        db.execute("update features set statistics = json_merge_patch(statistics, ?) where latent = 0",
                   ['{"nearest": [[3, 0.81], [7, 0.4]], "neighbours": [[3, 0.5], [60, 0.25]]}'])  # fmt: skip
    _decoders(made.workspace, one, other)
    _copy_of_a_document(made.workspace, one)
    return Everything(made.workspace, feature, Feature(one, 3), other)


def _copy_of_a_document(workspace: Workspace, dictionary: str) -> None:
    """The document in which latent 0 is strongest once more, under another number."""
    part = f"activations/{dictionary}/part-{HARVEST}-000.parquet"
    rows = pq.read_table(workspace.folder / part).to_pylist()
    best = max((row for row in rows if row["latent"] == 0), key=lambda row: row["value"])["document"]
    rows += [row | {"document": COPY} for row in rows if (row["latent"], row["document"]) == (0, best)]
    rows.sort(key=lambda row: (row["latent"], row["document"], row["position"]))
    workspace.write_part(part, pa.Table.from_pylist(rows, pq.read_schema(workspace.folder / part)))
    tokens = pq.read_table(workspace.folder / f"tokens/{HARVEST}/part-000.parquet")
    again = tokens.slice(best, 1).set_column(0, "document", pa.array([COPY], pa.int32()))
    workspace.write_part(f"tokens/{HARVEST}/part-001.parquet", again)


def _judged(feature: Feature) -> dict[str, Any]:
    rule = dict.fromkeys(("precision", "recall", "rule_f1", "rule_control", "rule_difference"), 0.5)
    ends = {
        f"{name}{end}": value + sign
        for name, value in rule.items()
        for end, sign in (("_lower", -0.1), ("_upper", 0.1))
    }
    return {
        "explanation": JUDGED, "dictionary": feature.dictionary, "latent": feature.latent, "explainer": "llm",
        "text": f"the {SECRET} {BIDI} {IMAGE}", "error": None, "run": "run000000003", "details": {}, "state": "explained",
        "rule": RULE, "rule_fired": 12, "rule_said": 20, **rule, **ends,
    }  # fmt: skip


def _failed(feature: Feature) -> dict[str, Any]:
    return {
        "explanation": FAILED, "dictionary": feature.dictionary, "latent": feature.latent, "explainer": "llm:examples=5",
        "text": None, "error": f"parse_failed: the answer was {SECRET} {IMAGE}", "run": "run000000003", "details": {},
        "state": "parse_failed",
    }  # fmt: skip


def _human(feature: Feature) -> dict[str, Any]:
    return {
        "explanation": HUMAN, "dictionary": feature.dictionary, "latent": feature.latent, "explainer": "human",
        "text": f"{SECRET} by hand", "error": None, "run": "run000000004", "details": {}, "state": "explained",
    }  # fmt: skip


def _same(feature: Feature) -> dict[str, Any]:
    return {
        "explanation": f"same{feature.latent:012d}", "dictionary": feature.dictionary, "latent": feature.latent,
        "explainer": "llm", "text": f"the {SECRET} {BIDI} {IMAGE}", "error": None, "run": "run000000003", "details": {},
        "state": "explained",
    }  # fmt: skip


WINDOWS = [
    {"document": 1 + 2 * n, "start": 0, "length": 24, "truth": n < 2, "judgement": 0.9 - 0.2 * n, "kind": "random"}
    for n in range(4)
]
DETAILS: dict[str, Any] = {
    "windows": WINDOWS,
    "quantiles": [{"quantile": 0, "value": 0.55, "lower": 0.4, "upper": 0.7, "active": 8, "silent": 20}],
    "kinds": [{"kind": "near", "value": 0.61, "lower": 0.5, "upper": 0.7, "active": 20, "silent": 10}],
    "states": {"parse_failed": 2, "timed_out": 1},
    "remarks": [f"degenerate judge: {IMAGE}"],
    "reasons": [],
}
SCORES: dict[str, dict[str, Any]] = {
    "detection": {
        "value": 0.8, "control": 0.5, "difference": 0.3, "degenerate": True, "failures": 3, "agreement": 0.9,
        "judge": "someone/judge", "judge_difference": 0.01, "judge_lower": -0.1, "judge_upper": 0.12, "details": DETAILS,
        "natural_rate": 0.004, "natural_precision": 0.21, "natural_precision_lower": 0.1, "natural_precision_upper": 0.3,
        "natural_f1": 0.33, "natural_f1_lower": 0.2, "natural_f1_upper": 0.4, "natural_auprc": 0.44,
        "balanced_accuracy": 0.75, "rule": 0.7, "rule_lower": 0.6, "rule_upper": 0.8, "added": 0.1, "added_lower": 0.0,
        "added_upper": 0.2, "tokens_in": 1234, "tokens_out": 56,
    },
    "embedding:model=small": {"value": 0.4, "control": 0.6, "difference": -0.2, "details": {"windows": []}},
    "surprisal": {"value": 0.7, "control": None, "difference": None, "details": {}},
}  # fmt: skip


def _score(scorer: str, *, value: float, **more: Any) -> dict[str, Any]:
    names = dict.fromkeys(name for score in SCORES.values() for name in score)
    spread = {}
    for name, number in (("", value), ("control", more["control"]), ("difference", more["difference"])):
        for end, step in (("lower", -0.1), ("upper", 0.1)):
            spread[f"{name}_{end}".strip("_")] = None if number is None else number + step
    return dict.fromkeys(names) | {
        "explanation": JUDGED, "scorer": scorer, "value": value, "trials": 40, "error": None, "run": "run000000004",
        "statistic": "auroc", "chance": 0.5, **more, **spread,
    }  # fmt: skip


def _counter(feature: Feature, kind: str, rank: int) -> dict[str, Any]:
    return {
        "run": "run000000004", "dictionary": feature.dictionary, "latent": feature.latent, "explanation": JUDGED,
        "harvest": HARVEST, "scorer": "detection", "kind": kind, "rank": rank, "judgement": 0.9, "activation": 0.0,
        "document": 2 * rank, "start": 8, "length": 24,
    }  # fmt: skip


def _findings(feature: Feature) -> list[dict[str, Any]]:
    rest = {"run": "run000000004", "about": str(feature), "against": f"labels of neighbours {IMAGE}", "trials": 40}
    numbers = {
        "value": 0.7, "lower": 0.6, "upper": 0.8, "control": 0.45, "control_lower": 0.4, "control_upper": 0.5,
        "difference": 0.25, "difference_lower": 0.1, "difference_upper": 0.4,
    }  # fmt: skip
    empty = dict.fromkeys(numbers)
    return [
        rest | numbers | {"verb": "discriminate", "measure": "AUROC against nearest", "error": None, "details": {}},
        rest
        | empty
        | {"verb": "relabel", "measure": f"AUROC of {SECRET}", "error": f"too rare {SECRET}", "details": {}},
    ]


def _match(one: Feature, other: Feature) -> dict[str, Any]:
    return {
        "run": "run000000004", "dictionary": one.dictionary, "latent": one.latent, "other": other.dictionary,
        "other_latent": other.latent, "kind": "mutual", "cosine": 0.87, "jaccard": 0.31, "correlation": 0.52,
        "explanation": None,
    }  # fmt: skip


def _decoders(workspace: Workspace, *dictionaries: str) -> None:
    """Decoders of 150 latents in 8 dimensions: that of latent n of one is near that of latent n + 1 of the other."""
    rows = np.random.default_rng(0).standard_normal((150, 8)).astype(np.float32)
    for number, dictionary in enumerate(dictionaries):
        folder = workspace.folder / "dictionaries" / dictionary
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"W_dec": np.roll(rows, number, axis=0) * (1 + number)}, folder / "sae_weights.safetensors")
