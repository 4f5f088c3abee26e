"""An intervention as text for a terminal: what was done, predicted, measured, and the controls.

Tokens and generated text are untrusted: they are shown as JSON strings, so that no control character reaches a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from data.words import Estimate

NAMES = 8
"""Node names written out."""


def as_text(row: Mapping[str, Any]) -> str:
    """A row of `interventions`, told to a person."""
    lines = [f"Intervention {row['intervention']}: {_done(row)}.", _where(row), *_metric(row), *_controls(row)]
    return "\n".join([*lines, *_tokens(row["details"]["top"]), *_texts(row["details"]["texts"])])


def _done(row: Mapping[str, Any]) -> str:
    how = row["does"] + ("" if row["amount"] is None else f" {row['amount']:g}")
    to = f" (to {row['reference']})" if row["does"] in ("ablate", "swap") else ""
    names = row["nodes"] if isinstance(row["nodes"], list) else json.loads(row["nodes"])
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return f"{how}{to} {', '.join(names[:NAMES])}{more}; attention {row['attention']}"


def _where(row: Mapping[str, Any]) -> str:
    prompts = (
        f"{row['examples']} held-out prompts of {row['task']}" if row["task"] else "1 prompt, so without intervals"
    )
    return f"On {prompts}, such as {_quoted(row['example'])}:"


def _metric(row: Mapping[str, Any]) -> list[str]:
    shares = f"{100 * row['accuracy_before']:.0f} % before, {100 * row['accuracy_after']:.0f} % after"
    return [
        f"  {row['metric']} before     {_estimate(row, 'before')}",
        f"  {row['metric']} after      {_estimate(row, 'after')}",
        f"  change, predicted  {_estimate(row, 'predicted')}{_by_site(row)}",
        f"  change, measured   {_estimate(row, 'measured')}",
        f"  answer preferred   {shares}",
    ]


def _by_site(row: Mapping[str, Any]) -> str:
    """Each site's part, where there are several: they may carry the same thing in turn, which the sum counts at each."""
    sites = row["details"]["by_site"]
    parts = ", ".join(f"{site} {value:.3g}" for site, value in sites.items())
    return f"  (the sum of each site changed alone: {parts})" if len(sites) > 1 else ""


def _controls(row: Mapping[str, Any]) -> list[str]:
    lines = [f"  change by random   {_estimate(row, 'control')}  (as many live nodes of the same sites and places)"]
    if row.get("control_task"):
        shares = (
            f"{100 * row['control_accuracy_before']:.0f} % before, {100 * row['control_accuracy_after']:.0f} % after"
        )
        change = _estimate(row, "control_change")
        lines.append(
            f"Control task {row['control_task']}, nodes changed at all positions: {row['control_before']:.3g} before, "
            f"{row['control_after']:.3g} after, change {change}; answer preferred {shares}"
        )
    return lines


def _estimate(row: Mapping[str, Any], name: str) -> str:
    if row["examples"] == 1 and not name.startswith("control"):
        return f"{row[name]:.3g}"
    return str(Estimate(row[name], row[f"{name}_lower"], row[f"{name}_upper"]))


def _tokens(top: Mapping[str, Any]) -> list[str]:
    return [
        f"Most likely {when}: " + ", ".join(f"{_quoted(t['token'])} {t['probability']:.2f}" for t in top[when])
        for when in ("before", "after")
    ]


def _texts(texts: Mapping[str, str]) -> list[str]:
    return [f"Text {when}: {_quoted(texts[when])}" for when in ("before", "after") if when in texts]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())
