"""The labels in force: of each feature the newest explanation that has a text, a person's own before any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autointerp.records import Explanation, explanations_of
from data.store import Workspace
from data.words import Feature

HUMAN = "human"
"""The explainer of a label that a person wrote."""


def labels_of(workspace: Workspace, dictionary: str, latents: Sequence[int] | None = None) -> dict[int, Explanation]:
    """The label of each latent of `dictionary` (or of each of `latents`) that has one."""
    query = (
        "select explanation, latent, text from explanations e left join runs r using (run) "
        "where dictionary = $1 and text is not null and ($2 is null or list_contains($2, latent)) "
        "qualify row_number() over (partition by latent order by explainer <> $3, r.started desc, explanation) = 1"
    )
    wanted = None if latents is None else [int(n) for n in latents]
    with workspace.read() as db:
        rows = db.execute(query, [dictionary, wanted, HUMAN]).fetchall()
    return {latent: Explanation(key, Feature(dictionary, latent), text) for key, latent, text in rows}


def of_run(workspace: Workspace, run: str) -> list[Explanation]:
    """The explanations of explain run `run` (empty: the newest that is done), one a feature: the first of several."""
    found: Mapping[Feature, Explanation] = {e.feature: e for e in reversed(explanations_of(workspace, run))}
    return list(reversed(found.values()))
