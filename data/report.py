"""The end of `lacewing demo`: what the workspace holds, told to a person, each number with its control."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from data.intervals import expanded_tail
from data.store import Workspace

WIDTH = 100


def report(workspace: Workspace) -> str:
    """The newest dictionaries, circuit and scores as text; a circuit that was traced here, not an imported one."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, markup=False, highlight=False)
    _dictionaries(console, workspace)
    _circuit(console, workspace)
    _scores(console, workspace)
    _steps(console, workspace)
    console.print(f"Browse it all:   lacewing dashboard --workspace {workspace.folder}", soft_wrap=True)
    console.print(
        f'Ask it anything: lacewing sql --workspace {workspace.folder} "select * from nodes limit 5"', soft_wrap=True
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _ask(workspace: Workspace, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with workspace.read() as db:
        return db.execute(sql, list(values)).fetchall()


def _dictionaries(console: Console, workspace: Workspace) -> None:
    newest = "(select run from runs where verb = 'train' and status = 'done' order by started desc limit 1)"
    rows = _ask(workspace, f"select site, latents, metrics from dictionaries where run = {newest} order by layer")
    table = Table("site", "latents", "L0", "explained variance", "PCA", "CE recovered", "PCA", "dead", box=None)
    for site, latents, metrics in rows:
        m = json.loads(metrics)
        figures = [_number(m, "explained_variance"), _number(m, "pca_explained_variance", False)]
        figures += [_number(m, "ce_recovered"), _number(m, "pca_ce_recovered", False)]
        table.add_row(site, str(latents), f"{m['l0']:.1f}", *figures, f"{100 * m['dead']:.0f} %")
    console.print("\nDictionaries, on held-out documents, beside PCA with as many components as L0:")
    console.print(table)


def _number(metrics: dict[str, Any], name: str, interval: bool = True) -> str:
    """A metric with its interval, or a dash when it was not measured."""
    if metrics.get(name) is None:
        return "-"
    bounds = [metrics.get(f"{name}_{end}") for end in ("lower", "upper")]
    shown = f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if interval and None not in bounds else ""
    return f"{metrics[name]:.3f}{shown}"


def _circuit(console: Console, workspace: Workspace) -> None:
    rows = _ask(
        workspace,
        "select circuit, task, method, pairs, calibration, selfcheck, c.summary from circuits c join runs using (run) "
        "where verb = 'circuit' order by started desc limit 1",
    )
    if not rows:
        return
    identity, task, method, pairs, *records = rows[0]
    calibration, check, summary = (json.loads(text) for text in records)
    verified = _ask(
        workspace, "select count(*), count(verified) from nodes where circuit = ? and kind <> 'logit'", identity
    )[0]
    edges = _ask(workspace, "select count(*) from edges where circuit = ?", identity)[0][0]
    console.print(
        f"\nCircuit {identity}: {task}, by {method.replace('_', ' ')} on {pairs} pairs.\n"
        f"{verified[0]} nodes ({summary['errors_kept']} of them error nodes), {edges} edges, "
        f"{verified[1]} nodes verified by exact patching. Estimate against exact effect, r: {_pearson(calibration)}.\n"
        f"Self-check: gradients of the spliced model differ from the bare one's by at most "
        f"{max(check['gradients'].values()):.1e}.\n"
        f"Share of the held-out logit difference that the first n nodes recover, all others at their counterfactual "
        f"values, beside random nodes (as many at each site); and what is left without them:"
    )
    _curve(console, workspace, identity)


def _curve(console: Console, workspace: Workspace, circuit: str) -> None:
    rows = _ask(
        workspace,
        "select size, kind, value, lower, upper, control from evaluations join circuits using (circuit, ablation) "
        "where circuit = ? and mask = 'nodes' order by size, kind desc",
        circuit,
    )
    table = Table("n", "faithfulness", "random", "left without them", "random", box=None)
    points: dict[int, list[str]] = {}
    for size, _, value, lower, upper, control in rows:
        points.setdefault(size, []).extend([f"{value:.2f} [{lower:.2f}, {upper:.2f}]", f"{control:.2f}"])
    for size, cells in points.items():
        table.add_row(str(size), *cells)
    console.print(table)


def _pearson(calibration: dict[str, Any]) -> str:
    """The correlation over all verified nodes, and apart for the most important and for the random sample."""
    parts = {"all": calibration, "most important": calibration.get("most_important") or {}}
    parts["random sample of the rest"] = calibration.get("random_sample") or {}
    return ", ".join(f"{name} {_three(part.get('pearson'))}" for name, part in parts.items())


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _scores(console: Console, workspace: Workspace) -> None:
    explained = _ask(workspace, "select count(*), count(text) from explanations")[0]
    console.print(
        f"\nExplanations: {explained[1]} of {explained[0]} features have one. Scores are AUROC, on windows of documents "
        f"not used to explain;\nthe control is another feature's explanation on the same windows. Medians over features:"
    )
    names = ("scorer", "scored", "failed", "right", "swapped", "right - swapped", "surely above 0")
    table = Table(*names, box=None)
    scorers = _ask(workspace, "select distinct scorer from scores order by scorer")
    for (scorer,) in scorers:
        table.add_row(scorer, *_score_cells(workspace, scorer))
    console.print(table)


def _score_cells(workspace: Workspace, scorer: str) -> list[str]:
    """How many were scored and failed, the median score, control and difference with its interval, and sure cases."""
    rows = _ask(workspace, "select value, control, difference, difference_lower from scores where scorer = ?", scorer)
    scored = np.array([row for row in rows if None not in row], dtype=float).reshape(-1, 4)
    if not len(scored):
        return ["0", str(len(rows)), "-", "-", "-", "-"]
    medians = [f"{np.median(scored[:, column]):.3f}" for column in (0, 1)]
    sure = f"{int((scored[:, 3] > 0).sum())} of {len(scored)}"
    return [str(len(scored)), str(len(rows) - len(scored)), *medians, _median(scored[:, 2]), sure]


def _median(values: np.ndarray) -> str:
    """The median with its 95 % bootstrap interval over features."""
    draws = np.random.default_rng(0).choice(values, (1000, len(values)))
    tail = expanded_tail(len(values))
    lower, upper = np.quantile(np.median(draws, axis=1), [tail, 1 - tail])
    return f"{np.median(values):.3f} [{lower:.3f}, {upper:.3f}]"


def _steps(console: Console, workspace: Workspace) -> None:
    rows = _ask(
        workspace, "select verb, summary from runs where status = 'done' and summary is not null order by started"
    )
    table = Table("step", "seconds", "peak memory", box=None)
    for verb, summary in rows:
        record = json.loads(summary)
        table.add_row(verb, f"{record['seconds']:.0f}", f"{record['peak_memory'] / 1e9:.1f} GB")
    console.print("\nWhat it took:")
    console.print(table)
    console.print()
