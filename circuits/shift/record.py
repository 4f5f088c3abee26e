"""What a SHIFT run found, as rows and as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from circuits.calibration import plain
from circuits.shift.classify import MEASURES, size_of
from data.runs import Run
from data.sql import Answer, as_table
from data.store import Workspace, append
from data.words import Estimate

if TYPE_CHECKING:
    from circuits.shift.run import Found

Spell = Callable[[Sequence[int]], list[str]]
CONTROL = "random latents"


def store(workspace: Workspace, run: Run, found: Found, spell: Spell) -> None:
    """All rows in one transaction."""
    run.summary |= {"removed": size_of(found.removal), "selfcheck": asdict(found.check)}
    run.summary |= {"calibration": plain(found.calibration), "errors": {str(s): e for s, e in found.errors.items()}}
    with workspace.write() as db:
        append(db, "shift_latents", list(_latents(run.run, found, spell)))
        append(db, "shift_scores", list(_scores(run.run, found)))


def _latents(run: str, found: Found, spell: Spell) -> Iterator[dict[str, Any]]:
    for rank, one in enumerate(found.candidates, 1):
        yield {
            "run": run, "node": str(one.node), "dictionary": one.dictionary, "latent": one.node.latent,
            "site": str(one.node.site), "rank": rank,
            **_columns("", "effect", one.effect), **_columns("verified_", "verified", one.verified),
            **_columns("cue_", "cue", one.cue), "tokens": spell(one.tokens), "removed": is_removed(found, one.node),
        }  # fmt: skip


def _columns(before: str, name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{before}lower": estimate.lower, f"{before}upper": estimate.upper}


def is_removed(found: Found, node: Any) -> bool:
    """Whether a latent was among those removed."""
    return node.site in found.removal and node.latent in found.removal[node.site].tolist()


def _scores(run: str, found: Found) -> Iterator[dict[str, Any]]:
    control = next((c.measures for c in found.classifiers if c.name == CONTROL), None)
    for one in found.classifiers:
        for measure in MEASURES:
            value = one.measures[measure]
            yield {
                "run": run, "classifier": one.name, "measure": measure, "value": value.value, "lower": value.lower,
                "upper": value.upper, "control": control[measure].value if control else None,
                "trials": one.trials[measure], "removed": one.removed,
            }  # fmt: skip


def tables(found: Found, spell: Spell) -> str:
    """The latents to choose from, and the classifiers, for a person."""
    latents = Answer(
        ("latent", "effect", "exact", "cue", "removed", "strongest at"),
        [
            (
                one.name, _short(one.effect), _short(one.verified), _short(one.cue),
                "yes" if is_removed(found, one.node) else "", " ".join(map(repr, spell(one.tokens))),
            )
            for one in found.candidates
        ],
    )  # fmt: skip
    scores = Answer(
        ("classifier", "removed", *MEASURES, ""),
        [(c.name, c.removed, *(_percent(c.measures[m]) for m in MEASURES), c.note) for c in found.classifiers],
    )
    advice = "" if found.removal else "Nothing was removed: name latents of the first table with --remove.\n"
    return (
        f"{as_table(latents)}\n{as_table(scores)}\nlabel should be high, cue near 50 %, worst group high; intervals are "
        f"95 %.\n{_calibrated(found)}{_lost(found)}{advice}"
    )


def _calibrated(found: Found) -> str:
    one = found.calibration
    if one is None:
        return ""
    correlation = _short(Estimate(one.pearson, one.pearson_lower, one.pearson_upper))
    return f"Estimated and exact effects of the latents shown correlate at {correlation}.\n"


def _lost(found: Found) -> str:
    shares = ", ".join(f"{site} {100 * share:.0f} %" for site, share in found.errors.items())
    return f"Of the estimated effects on the probe, this much stands in errors and cannot be removed: {shares}.\n"


def _short(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.lower:.2f}, {estimate.upper:.2f}]"


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} [{100 * estimate.lower:.0f}, {100 * estimate.upper:.0f}]"
