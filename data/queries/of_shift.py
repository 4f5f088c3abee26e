"""Probes freed from a cue (`lacewing shift`): the latents a person may remove, and what the classifiers are worth."""

from __future__ import annotations

from data.queries.base import Row, rows
from data.queries.of_comparison import texts
from data.store import Workspace


def shift_runs(workspace: Workspace) -> list[Row]:
    """Finished runs, newest first, each with how many latents it showed and removed."""
    return rows(
        workspace,
        """select r.*, count(l.node) as latents, count(*) filter (l.removed) as removed
           from runs r left join shift_latents l using (run) where r.verb = 'shift' and r.status = 'done'
           group by all order by r.started desc""",
    )


def latents(workspace: Workspace, run: str) -> list[Row]:
    """The latents that a run showed, those with the largest effect on the probe first, with their explanations;
    `recorded` says whether the feature has been harvested."""
    return rows(
        workspace,
        f"""with shown as (from shift_latents where run = ?), {texts("shown")}
        select l.*, b.text, f.density, f.latent is not null as recorded
        from shown l left join texts b using (dictionary, latent) left join features f using (dictionary, latent)
        order by l.rank""",
        [run],
    )


def scores(workspace: Workspace, run: str) -> list[Row]:
    """What the classifiers of a run are worth on the test's texts, in the run's order."""
    return rows(workspace, "select * from shift_scores where run = ? order by rowid", [run])
