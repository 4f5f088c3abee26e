"""Two of a kind side by side: circuits, with what `lacewing diff` found of them or else what they plainly share, and
dictionaries, with what `lacewing similar` found of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data import best
from data.errors import unknown
from data.queries.base import Row, rows
from data.queries.of_training import DENSITY_EDGES
from data.store import Workspace

PLACES = {
    "position": "cast(position as varchar)",
    "role": "role",
    "anywhere": "''",
}
"""By what two nodes of one feature correspond, and that as SQL."""
STATUSES = ("added", "lost", "re-weighted", "sign changed", "outside")
ORDERS = {
    "certainty": "q, abs(difference) desc",
    "difference": "abs(difference) desc",
    "rank on the left": "left_rank nulls last",
    "rank on the right": "right_rank nulls last",
}


def texts(of: str, dictionary: str = "dictionary", latent: str = "latent", name: str = "texts") -> str:
    """A common table of the explanation shown for each feature that the common table `of` names, and of no other: ranking
    those of a million features would take longer than a page may."""
    return f"""{name} as (
        select e.dictionary, e.latent, e.text from explanations e
        semi join {of} p on e.dictionary = p.{dictionary} and e.latent = p.{latent}
        left join scores s on s.explanation = e.explanation and s.error is null where e.text is not null
        qualify row_number() over (partition by e.dictionary, e.latent
                                   order by {best.FIRST}) = 1)"""


@dataclass(frozen=True)
class Filter:
    """Which rows of a comparison to show."""

    kind: str = ""
    """node or edge; both when empty."""
    status: str = ""
    """One of STATUSES or `same`; every finding when empty."""
    cell: str = ""
    """SITE@PLACE as the comparison counts places: nodes there alone."""
    order: str = "certainty"

    def __post_init__(self) -> None:
        if self.status not in ("", "same", *STATUSES):
            raise unknown("kind of finding", self.status, ("same", *STATUSES))
        if self.order not in ORDERS:
            raise unknown("order of differences", self.order, ORDERS)


def tested(workspace: Workspace, left: str, right: str) -> Row | None:
    """The newest finished `lacewing diff` of two circuits, in either order, or None: its run, and which was left."""
    found = rows(
        workspace,
        """select * from runs where verb = 'diff' and status = 'done' and
           ((config->>'left' = $1 and config->>'right' = $2) or (config->>'left' = $2 and config->>'right' = $1))
           order by started desc limit 1""",
        [left, right],
    )
    return found[0] if found else None


def status_counts(workspace: Workspace, run: str) -> list[Row]:
    """How many rows a comparison has of each kind and status."""
    sql = "select kind, status, count(*) as count from differences where run = ? group by all order by all"
    return rows(workspace, sql, [run])


def differences(workspace: Workspace, run: str, wanted: Filter, *, offset: int = 0, limit: int = 50) -> list[Row]:
    """One page of a comparison's rows, those of features with their dictionary, latent and explanation; `total` counts
    all pages' rows.
    """
    conditions, parameters = ["d.run = ?"], [run]
    for column, value in (("kind", wanted.kind), ("status", wanted.status)):
        if value:
            conditions.append(f"d.{column} = ?")
            parameters.append(value)
    if not wanted.status:
        conditions.append("d.status <> 'same'")
    if wanted.cell:
        site, _, place = wanted.cell.rpartition("@")
        conditions.append("d.kind = 'node' and starts_with(d.left_name, ? || '/') and ends_with(d.left_name, '@' || ?)")
        parameters += [site, place]
    return rows(
        workspace,
        f"""with page as (
            select d.*, count(*) over () as total,
                   nullif(regexp_extract(d.left_name, '^(\\w+:\\d+)/latent:', 1), '') as site,
                   try_cast(regexp_extract(d.left_name, '^[^/]+/latent:(\\d+)', 1) as integer) as latent
            from differences d where {" and ".join(conditions)}
            order by {ORDERS[wanted.order]}, left_name limit ? offset ?),
        placed as (
            select p.*, case when p.kind = 'node' then json_extract_string(c.dictionaries, '$."' || p.site || '"') end
                   as dictionary
            from page p join circuits c on c.circuit = p.left_circuit),
        {texts("placed")}
        select p.*, b.text from placed p left join texts b using (dictionary, latent)
        order by {ORDERS[wanted.order]}, left_name""",
        [*parameters, min(limit, 500), offset],
    )


SIDES = """sides as (
    select circuit, kind, site, layer, dictionary, latent, {place} as place, any_value(role) as role,
           sum(effect) as effect, arg_max(lower, abs(effect)) as lower, arg_max(upper, abs(effect)) as upper,
           arg_max(verified, abs(effect)) as verified, count(*) as positions, min(rank) as rank,
           arg_max(node, abs(effect)) as node
    from nodes where circuit in ($1, $2) and kind <> 'logit'
    group by circuit, kind, site, layer, dictionary, latent, place),
beside as (
    select coalesce(l.kind, r.kind) as kind, coalesce(l.site, r.site) as site, coalesce(l.layer, r.layer) as layer,
           coalesce(l.dictionary, r.dictionary) as dictionary, coalesce(l.latent, r.latent) as latent,
           coalesce(l.place, r.place) as place, coalesce(l.role, r.role) as role,
           l.effect as left_effect, l.lower as left_lower, l.upper as left_upper, l.verified as left_verified,
           l.rank as left_rank, l.positions as left_positions, l.node as left_node,
           r.effect as right_effect, r.lower as right_lower, r.upper as right_upper, r.verified as right_verified,
           r.rank as right_rank, r.positions as right_positions, r.node as right_node,
           coalesce(r.effect, 0) - coalesce(l.effect, 0) as difference
    from (from sides where circuit = $1) l full join (from sides where circuit = $2) r
        on l.kind = r.kind and l.site is not distinct from r.site and l.place is not distinct from r.place
        and l.dictionary is not distinct from r.dictionary and l.latent is not distinct from r.latent)"""
"""The nodes of two circuits in rows of their own: `left_*` is NULL for those that the right one has alone. A feature at
several positions that count as one has the sum of its effects, and the interval of the strongest."""


ORDER_BESIDE = "order by abs(difference) desc, site, kind, latent, place"


def beside(
    workspace: Workspace, left: str, right: str, by: str, *, cell: str = "", offset: int = 0, limit: int = 50
) -> list[Row]:
    """One page of both circuits' nodes, those that differ most first, with explanations; `total` counts all of them.
    `cell`, SITE@PLACE, leaves those of one site and place."""
    return rows(
        workspace,
        f"""with {SIDES.format(place=_place(by))},
        page as (select *, count(*) over () as total from beside
            where $5 = '' or site || '@' || place = $5 {ORDER_BESIDE} limit $3 offset $4), {texts("page")}
        select s.*, b.text from page s left join texts b using (dictionary, latent) {ORDER_BESIDE}""",
        [left, right, min(limit, 2000), offset, cell],
    )


def overlap(workspace: Workspace, left: str, right: str, by: str) -> Row:
    """What two circuits share: nodes in either alone and in both, the Jaccard index of nodes and of |effect|, Pearson's
    correlation of the effects of shared nodes, and how many of those have opposite signs."""
    [found] = rows(
        workspace,
        f"""with {SIDES.format(place=_place(by))}
        select count(*) filter (right_effect is null) as left_only, count(*) filter (left_effect is null) as right_only,
               count(*) filter (left_effect is not null and right_effect is not null) as shared,
               count(*) filter (left_effect * right_effect < 0) as opposite,
               count(*) filter (left_effect is not null and right_effect is not null) / nullif(count(*), 0) as jaccard,
               sum(case when left_effect * right_effect > 0 then least(abs(left_effect), abs(right_effect)) else 0 end)
                   / nullif(sum(greatest(abs(coalesce(left_effect, 0)), abs(coalesce(right_effect, 0)))), 0)
                   as weighted,
               corr(left_effect, right_effect) as pearson
        from beside""",
        [left, right],
    )
    return found


def by_place(workspace: Workspace, left: str, right: str, by: str) -> list[Row]:
    """Both circuits by site and place: how many nodes, and their positive and negative effect; deepest sites first."""
    sides = ", ".join(
        f"""count({side}_effect) as {side}_nodes,
            coalesce(sum({side}_effect) filter ({side}_effect > 0), 0) as {side}_positive,
            coalesce(sum({side}_effect) filter ({side}_effect < 0), 0) as {side}_negative"""
        for side in ("left", "right")
    )
    return rows(
        workspace,
        f"""with {SIDES.format(place=_place(by))}
        select site, layer, place, any_value(role) as role, {sides},
               count(*) filter (left_effect is null) as right_only,
               count(*) filter (right_effect is null) as left_only
        from beside group by site, layer, place order by layer desc, site, try_cast(place as integer), place""",
        [left, right],
    )


def _place(by: str) -> str:
    if by not in PLACES:
        raise unknown("way to match nodes", by, PLACES)
    return PLACES[by]


def found_by_place(workspace: Workspace, run: str) -> list[Row]:
    """How many nodes of each site and place a comparison calls what; places are numbers as the comparison has them."""
    return rows(
        workspace,
        """select regexp_extract(left_name, '^([^/]+)/', 1) as site, regexp_extract(left_name, '@(\\d+)$', 1) as place,
                  status, count(*) as count
           from differences where run = ? and kind = 'node' and status <> 'same' group by all order by all""",
        [run],
    )


def density_histogram(workspace: Workspace, dictionaries: Sequence[str]) -> list[Row]:
    """How many features of each dictionary lie in each bin of `DENSITY_EDGES` (`bin`, from 0; -1: never active)."""
    low, step, most = DENSITY_EDGES[0], DENSITY_EDGES[1] - DENSITY_EDGES[0], len(DENSITY_EDGES) - 2
    return rows(
        workspace,
        """select dictionary, case when density <= 0 then -1
                  else greatest(0, least($2, cast(floor((log10(density) - $3) / $4) as integer))) end as bin,
                  count(*) as count
           from features where list_contains($1, dictionary) group by all order by all""",
        [list(dictionaries), most, low, step],
    )


def similar(workspace: Workspace, one: str, other: str) -> Row | None:
    """The newest finished `lacewing similar` of two dictionaries, in either order, or None."""
    found = rows(
        workspace,
        """select r.* from runs r where r.status = 'done' and r.verb = 'similar' and r.run in
             (select run from findings where verb = 'similar' and (about = $1 || ' ' || $2 or about = $2 || ' ' || $1))
           order by r.started desc limit 1""",
        [one, other],
    )
    return found[0] if found else None


def findings(workspace: Workspace, run: str) -> list[Row]:
    """What a run found, in its own order."""
    return rows(workspace, "select * from findings where run = ? order by rowid", [run])


MATCH_ORDERS = {
    "most alike": "cosine desc",
    "least alike": "cosine",
    "jaccard": "jaccard desc nulls last",
    "correlation": "correlation desc nulls last",
    "explanations least alike": "explanation nulls last",
}


def matches(
    workspace: Workspace, run: str, kind: str, order: str, *, one: str, offset: int = 0, limit: int = 50
) -> list[Row]:
    """One page of matched latents with both explanations; `latent` is that of the dictionary `one`, whichever the run
    named first. `total` counts all pages' rows."""
    if order not in MATCH_ORDERS:
        raise unknown("order of matches", order, MATCH_ORDERS)
    return rows(
        workspace,
        f"""with page as (
            select case when dictionary = $3 then dictionary else other end as dictionary,
                   case when dictionary = $3 then latent else other_latent end as latent,
                   case when dictionary = $3 then other else dictionary end as other,
                   case when dictionary = $3 then other_latent else latent end as other_latent,
                   cosine, jaccard, correlation, explanation, count(*) over () as total
            from matches where run = $1 and kind = $2
            order by {MATCH_ORDERS[order]}, latent, other_latent limit $4 offset $5),
        {texts("page")}, {texts("page", "other", "other_latent", "others")}
        select p.*, a.text, b.text as other_text, f.density, g.density as other_density
        from page p left join texts a using (dictionary, latent)
        left join others b on b.dictionary = p.other and b.latent = p.other_latent
        left join features f on f.dictionary = p.dictionary and f.latent = p.latent
        left join features g on g.dictionary = p.other and g.latent = p.other_latent
        order by {MATCH_ORDERS[order]}, p.latent, p.other_latent""",
        [run, kind, one, min(limit, 500), offset],
    )


def match_counts(workspace: Workspace, run: str) -> dict[str, Any]:
    """How many pairs a run matched in each way."""
    found = rows(workspace, "select kind, count(*) as count from matches where run = ? group by kind", [run])
    return {row["kind"]: row["count"] for row in found}


def told(workspace: Workspace, dictionary: str, latents: Sequence[int]) -> dict[int, Row]:
    """Density, maximum activation and explanation of some latents of a dictionary, by latent; unrecorded ones have NULL."""
    found = rows(
        workspace,
        f"""with asked as (select $1 as dictionary, unnest($2::integer[]) as latent), {texts("asked")}
        select a.latent, f.density, f.max_activation, b.text
        from asked a left join features f using (dictionary, latent) left join texts b using (dictionary, latent)""",
        [dictionary, list(latents)],
    )
    return {row["latent"]: row for row in found}
