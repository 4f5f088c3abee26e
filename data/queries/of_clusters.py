"""Clusters of contexts that were found without a task (`lacewing clusters`), and what their circuits are worth."""

from __future__ import annotations

from dataclasses import dataclass

from data.errors import Mistake, unknown
from data.queries.base import Row, rows
from data.store import Workspace

SHOWS = {
    "all": "true",
    "cohesive": "cohesive",
    "with a circuit": "circuit is not null",
    "above random": "above",
    "without a circuit": "circuit is null",
}
ORDERS = {
    "number": "cluster",
    "size": "size desc",
    "cohesion above shuffled": "cohesion - control desc",
    "faithfulness above random": "faithful - random desc nulls last",
    "fewest next tokens": "kinds_of_next, size desc",
}

JUDGED = """judged as (
    select c.*, c.cohesion_lower > c.control_upper as cohesive, len(cast(c.next_tokens as json[])) as kinds_of_next,
           e.value as faithful, e.lower as faithful_lower, e.upper as faithful_upper, e.control as random,
           e.control_lower as random_lower, e.control_upper as random_upper, e.size as kept,
           coalesce(e.lower > e.control_upper, false) as above
    from clusters c left join
        (select * from evaluations where kind = 'faithfulness' and mask = 'nodes'
         qualify row_number() over (partition by circuit order by size desc) = 1) e using (circuit))"""
"""Each cluster with its circuit's faithfulness at the size it was kept at, beside random circuits; `cohesive` and `above`
say that the interval lies wholly above the control's."""


@dataclass(frozen=True)
class Filter:
    """Which clusters to list, and in which order."""

    show: str = "all"
    order: str = "number"
    text: str = ""
    """Part of a next token or of an example."""

    def __post_init__(self) -> None:
        if self.show not in SHOWS:
            raise unknown("kind of cluster", self.show, SHOWS)
        if self.order not in ORDERS:
            raise unknown("order of clusters", self.order, ORDERS)


def clusterings(workspace: Workspace) -> list[Row]:
    """Clusterings, newest first: how many clusters, how many more cohesive than shuffled contexts, how many with a
    circuit, and how many of these recover more than random ones; `config` is that of the newest run."""
    return rows(
        workspace,
        f"""with {JUDGED}
        select c.recipe, arg_max(c.run, r.started) as run, arg_max(r.config, r.started) as config,
               max(r.started) as started, arg_max(r.status, r.started) as status, any_value(c.vectors) as vectors,
               count(*) as clusters, sum(c.size) as contexts, count(*) filter (cohesive) as cohesive,
               count(c.circuit) as circuits, count(*) filter (above) as above,
               median(c.faithful) as faithful, median(c.random) as random
        from judged c left join runs r using (run) group by c.recipe order by started desc nulls last, c.recipe""",
    )


def clusters(workspace: Workspace, recipe: str, wanted: Filter, *, offset: int = 0, limit: int = 50) -> list[Row]:
    """One page of a clustering, examples left out; `total` counts all pages' rows."""
    return rows(
        workspace,
        f"""with {JUDGED}
        select * exclude (examples), count(*) over () as total from judged
        where recipe = ? and {SHOWS[wanted.show]} and
              (? = '' or contains(lower(cast(next_tokens as varchar)), lower(?))
               or contains(lower(array_to_string(cast(examples->'$[*].tokens[*]' as varchar[]), '')), lower(?)))
        order by {ORDERS[wanted.order]}, cluster limit ? offset ?""",
        [recipe, wanted.text, wanted.text, wanted.text, min(limit, 500), offset],
    )


def points(workspace: Workspace, recipe: str, limit: int = 2000) -> list[Row]:
    """Every cluster's cohesion and faithfulness beside their controls, for charts; the largest clusters if too many."""
    return rows(
        workspace,
        f"""with {JUDGED}
        select cluster, size, cohesion, cohesion_lower, cohesion_upper, control, control_lower, control_upper, cohesive,
               faithful, faithful_lower, faithful_upper, random, random_lower, random_upper, above
        from judged where recipe = ? order by size desc, cluster limit ?""",
        [recipe, limit],
    )


def reasons(workspace: Workspace, recipe: str) -> list[Row]:
    """Why clusters have no circuit, numbers left out so that equal reasons are one, the most frequent first."""
    return rows(
        workspace,
        """select regexp_replace(error, '\\d+', '…', 'g') as reason, count(*) as count from clusters
           where recipe = ? and error is not null group by 1 order by 2 desc, 1""",
        [recipe],
    )


def cluster(workspace: Workspace, recipe: str, number: int) -> Row:
    """One cluster with its examples; raises `Mistake` when there is none of that number."""
    found = rows(workspace, f"with {JUDGED} from judged where recipe = ? and cluster = ?", [recipe, number])
    if not found:
        [ends] = rows(workspace, "select min(cluster) a, max(cluster) b from clusters where recipe = ?", [recipe])
        raise Mistake(
            f"There is no cluster {number} in this clustering; its numbers go from {ends['a']} to {ends['b']}."
        )
    return found[0]
