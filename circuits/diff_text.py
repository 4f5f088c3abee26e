"""A comparison of two circuits as a person, or a program, reads it: from the store alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from circuits.diff_config import DiffConfig
from data import queries, runs, sql
from data.store import Workspace

SHOWN = (
    "kind",
    "status",
    "left_name",
    "right_name",
    "left_effect",
    "right_effect",
    "difference",
    "lower",
    "upper",
    "q",
)


def render(workspace: Workspace, run: str, config: DiffConfig) -> str:
    """The findings of a finished comparison: a table below sentences, JSON with the summary, or CSV of the findings."""
    record = runs.find(workspace, run)
    asked, summary = record["config"], record["summary"]
    found = queries.differences(workspace, run)
    if config.format == "json":
        whole = {"run": run, "left": asked["left"], "right": asked["right"], "summary": summary, "differences": found}
        return json.dumps(whole, ensure_ascii=False, indent=1)
    if config.format == "csv":
        return sql.as_csv(_answer(found, tuple(found[0]) if found else SHOWN)).rstrip("\n")
    lines = [*sentences(asked["left"], asked["right"], summary)]
    if found:
        lines.append(sql.as_table(_answer(found[: config.limit], SHOWN)).rstrip("\n"))
    if len(found) > config.limit:
        lines.append(f"{len(found) - config.limit} more: --limit, or the table differences where run = '{run}'.")
    return "\n".join(lines)


def _answer(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> sql.Answer:
    return sql.Answer(columns, [tuple(row[name] for name in columns) for row in rows])


def sentences(left: str, right: str, summary: Mapping[str, Any]) -> Iterator[str]:
    """What was compared, how, what came out, and what could have; `left` and `right` are the circuits."""
    tested, rate = summary["tested"], summary["rate"]
    counts = {kind: sum(found.values()) for kind, found in summary["findings"].items()}
    yield (
        f"{counts['node']} of {tested['node']} nodes and {counts['edge']} of {tested['edge']} edges differ between "
        f"{left} and {right}, at a false-discovery rate of {rate:g}."
    )
    deals = summary["control"]
    yield f"With the examples dealt at random, {deals['findings']:g} differ on average over {deals['deals']} deals."
    examples, how = summary["examples"], {"place": "place by place", "role": "by role", "sum": "summed over places"}
    sample = (
        f"the same {examples['left']} prompts"
        if summary["same_prompts"]
        else f"{examples['left']} prompts against {examples['right']} others"
    )
    yield f"Compared on {sample}, {how[summary['places']]}, at {', '.join(summary['sites'])}."
    yield from _limits(summary)


def _limits(summary: Mapping[str, Any]) -> Iterator[str]:
    if summary["sites_left_out"]:
        yield f"Only one circuit has {', '.join(summary['sites_left_out'])}: not compared."
    for site, one in summary["dictionaries"].items():
        yield (
            f"The dictionaries at {site} differ: {one['share']:.0%} of the latents in use have a partner by {one['by']} "
            f"({one['chance']:.0%} by chance)."
        )
    left, right = summary["not_compared"]["left"], summary["not_compared"]["right"]
    if left or right:
        yield f"{left} nodes of the first circuit and {right} of the second have no counterpart and were not compared."
    if moved := summary["in_one_alone_without_difference"]:
        yield f"{moved} nodes are in one circuit alone without a difference that can be told from chance."
    if summary["detectable"] is not None:
        yield f"A difference of {summary['detectable']:.3g} would be found in four of five cases, in a typical column."
    if summary["finest_p"] * sum(summary["tested"].values()) > summary["rate"]:
        yield (
            f"So few examples allow no p below {summary['finest_p']:.2g}: a single difference cannot be found among so "
            f"many columns. Trace with more --pairs, or test fewer with --nodes and --edges."
        )
    yield from summary["notes"]
