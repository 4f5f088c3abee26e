"""A feature in Neuronpedia's schema: what its feature address answers with, as far as the store knows it.

Names are theirs. What is not known here (a decoder vector, cosine neighbours) is an empty list or null, never a guess; what
their schema has no field for stands under `lacewing`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from dashboard.evidence import Example, Group
from dashboard.export.feature import Gathered
from data.words import Site


def document(found: Gathered, origin: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document."""
    record, statistics = found.record, found.record["statistics"]
    site = Site.parse(record["site"])
    up, down = statistics.get("top_logits") or [], statistics.get("bottom_logits") or []
    histogram = statistics.get("histogram") or {}
    return {
        "modelId": re.sub(r"[^a-z0-9.]+", "-", str(record["model_name"]).lower()).strip("-"),
        "layer": f"{site.layer}-{site.kind.replace('_', '-')}-{record['dictionary'][:8]}",
        "index": str(found.feature.latent),
        "hookName": site.hook, "maxActApprox": record["max_activation"], "frac_nonzero": record["density"],
        "pos_str": [str(token) for token, _ in up], "pos_values": [value for _, value in up],
        "neg_str": [str(token) for token, _ in down], "neg_values": [value for _, value in down],
        "freq_hist_data_bar_heights": list(histogram.get("counts") or []),
        "freq_hist_data_bar_values": [(a + b) / 2 for a, b in pairwise(histogram.get("edges") or [])],
        "logits_hist_data_bar_heights": [], "logits_hist_data_bar_values": [], "decoder_weights_dist": [],
        "topkCosSimIndices": [], "topkCosSimValues": [], "vector": [], "hasVector": False,
        "explanations": [*_labels(found), *_explanations(found)],
        "activations": [_activation(example, group) for group in found.groups for example in group.examples],
        "lacewing": {"feature": str(found.feature), "site": str(site), "origin": dict(origin),
                     "lift": statistics.get("lift") or [],
                     "notes": [{"text": n["text"], "author": n["rater"]} for n in found.notes],
                     "scores": [_full(s) for s in found.about.scores]},
    }  # fmt: skip


def _labels(found: Gathered) -> list[dict[str, Any]]:
    return [
        {
            "description": row["text"],
            "authorId": row["author"],
            "typeName": "human",
            "explanationModelName": None,
            "scores": [],
        }
        for row in found.labels
    ]


def _explanations(found: Gathered) -> list[dict[str, Any]]:
    return [
        {
            "id": e["explanation"], "description": e["text"], "typeName": e["explainer"], "explanationModelName": None,
            "scores": [
                {"value": s["value"], "explanationScoreTypeName": s["scorer"], "explanationScoreModelName": s.get("judge")}
                for s in found.about.scores if s["explanation"] == e["explanation"] and s["error"] is None
            ],
        }
        for e in found.texts
    ]  # fmt: skip


def _full(score: Mapping[str, Any]) -> dict[str, Any]:
    """A score with its control and interval, which their schema has no field for."""
    names = ("explanation", "scorer", "value", "lower", "upper", "control", "difference", "difference_lower",
             "difference_upper", "trials", "error")  # fmt: skip
    return {name: score[name] for name in names}


def _activation(example: Example, group: Group) -> dict[str, Any]:
    peak = example.at if 0 <= example.at < len(example.values) else 0
    return {
        "tokens": list(example.tokens), "values": [round(value, 5) for value in example.values],
        "maxValue": round(example.value, 5), "maxValueTokenIndex": peak, "dataIndex": f"{example.place}",
        "binMin": group.low or None, "binMax": group.high or None, "binContains": None, "dataSource": group.name,
    }  # fmt: skip
