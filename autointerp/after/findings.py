"""A finding: one number with its interval, the same under a null, and how many trials it rests on.

Every verb of this package writes its numbers as rows of the table `findings` and says them as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from autointerp.bootstrap import compared, estimate
from data.runs import Run
from data.store import Workspace, append
from data.words import Estimate

SHOWN = 40
"""Findings that a command prints; the others are in the store."""


@dataclass(frozen=True)
class Finding:
    """A number about something. `value` is None where there is none, and `error` says why."""

    about: str
    measure: str
    value: Estimate | None
    trials: int
    control: Estimate | None = None
    """The same under the null."""
    difference: Estimate | None = None
    """value - control, from the same draws."""
    against: str = ""
    """What the null is."""
    error: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        about: str,
        measure: str,
        draws: Float[np.ndarray, "texts draws"],
        trials: int,
        *,
        drawn_from: int | None = None,
        against: str = "",
        details: dict[str, Any] | None = None,
    ) -> Finding:
        """From what `bootstrap.weights` gave: the value's draws, then the control's if there is one.

        `drawn_from` says from how many documents, where these are not the trials.
        """
        found = compared(draws, trials if drawn_from is None else drawn_from)
        return cls(about, measure, found.value, trials, found.control, found.difference, against, details=details or {})

    @classmethod
    def none(cls, about: str, measure: str, error: str) -> Finding:
        """There is no such number, and why."""
        return cls(about, measure, None, 0, error=error)

    def row(self) -> dict[str, Any]:
        """Its columns, without run and verb."""
        row: dict[str, Any] = {"about": self.about, "measure": self.measure}
        row |= _three(("value", "lower", "upper"), self.value)
        for name, found in (("control", self.control), ("difference", self.difference)):
            row |= _three((name, f"{name}_lower", f"{name}_upper"), found)
        return row | {
            "against": self.against, "trials": self.trials, "error": self.error, "details": self.details,
        }  # fmt: skip

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.measure}: none ({self.error})"
        null = f", {self.against} {self.control}" if self.control else ""
        gap = f", difference {self.difference}" if self.difference else ""
        return f"{self.measure}: {self.value} of {self.trials}{null}{gap}"


def _three(names: tuple[str, str, str], found: Estimate | None) -> dict[str, float | None]:
    numbers = (found.value, found.lower, found.upper) if found else (None, None, None)
    return {name: None if number is None or np.isnan(number) else float(number)
            for name, number in zip(names, numbers, strict=True)}  # fmt: skip


def means(rows: Float[np.ndarray, "texts trials"], drawn: Float[np.ndarray, "draws trials"]) -> np.ndarray:
    """The mean of each row [texts, draws] when trials have these weights; trials that are NaN in a row are left out."""
    known = ~np.isnan(rows)
    total = known @ drawn.T
    return np.divide(np.where(known, rows, 0) @ drawn.T, total, out=np.full(total.shape, np.nan), where=total > 0)


def mean(row: Float[np.ndarray, " trials"], drawn: Float[np.ndarray, "draws trials"]) -> Estimate:
    """The mean of `row` with its interval."""
    return estimate(means(row[None], drawn)[0], int((~np.isnan(row)).sum()))


def store(run: Run, found: Sequence[Finding]) -> None:
    """Writes the findings of `run`, in place of those that it wrote before it was stopped."""
    with run.workspace.write() as db:
        db.execute("delete from findings where run = ?", [run.run])
        append(db, "findings", [{"run": run.run, "verb": run.verb} | finding.row() for finding in found])


def text_of(workspace: Workspace, run: str) -> str:
    """The first `SHOWN` findings of `run` as lines, its id in the first."""
    query = (
        "select about, measure, value, lower, upper, control, control_lower, control_upper, difference, "
        "difference_lower, difference_upper, against, trials, error from findings where run = ? order by rowid"
    )
    with workspace.read() as db:
        rows = db.execute(query, [run]).fetchall()
    more = f"{len(rows) - SHOWN} more: `lacewing sql \"select * from findings where run = '{run}'\"`"
    lines = [f"{row[0]}  {_of_row(row)}" for row in rows[:SHOWN]]
    return "\n".join([run, *lines, *([more] if len(rows) > SHOWN else [])])


def _of_row(row: tuple[Any, ...]) -> Finding:
    value, control, difference = (Estimate(*row[at : at + 3]) if row[at] is not None else None for at in (2, 5, 8))
    return Finding(row[0], row[1], value, row[12], control, difference, row[11], row[13])
