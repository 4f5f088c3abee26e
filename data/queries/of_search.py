"""Looking for features: by what was said of them, by name, by their likes.

What was said is explanations and people's labels together (`said`): text, its author, and the best score of an
explanation. A text's key is its MD5, by which sentence vectors are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from data import best
from data.queries.base import MODEL, Row, rows
from data.store import Workspace
from data.words import Feature

SAID = """said as (
    select dictionary, latent, text, explainer as author, explanation, false as label
    from explanations where text is not null
    union all by name
    select split_part(subject, '/', 1) as dictionary, try_cast(split_part(subject, '/', 2) as integer) as latent,
           value as text, rater as author, true as label
    from current_judgements where kind = 'label' and about = 'feature')"""
SCORED = f"""best as (
    select explanation, max_by(struct_pack(scorer := scorer, score := value, control := control, difference := difference,
                                           comparable := {best.COMPARABLE}),
                               ({best.COMPARABLE}, coalesce(difference, -1e9), value)) as best
    from scores s where error is null and explanation in (select explanation from {{found}}) group by explanation),
scored as (
    select f.* exclude (explanation), best.scorer as scorer, best.score as score, best.control as control,
           best.difference as difference, best.comparable as comparable
    from {{found}} f left join best using (explanation))"""
"""`found`, rows of `said`, with the best score of each (`data.best`)."""
ORDER = "rank, comparable desc nulls last, difference desc nulls last, score desc nulls last, dictionary, latent"
BETTER = "label desc, comparable desc nulls last, difference desc nulls last, score desc nulls last, text"
"""Of two texts about one feature, which is shown: a person's, then the one with the better score (`data.best`)."""
RECORD = """select o.*, d.site, d.layer, f.density, f.max_activation, h.harvest
            from {} o join dictionaries d using (dictionary) left join features f using (dictionary, latent)
            left join (select dictionary, max_by(harvest, coalesce(started, '1970-01-01')) as harvest
                       from harvests left join runs using (run) group by dictionary) h using (dictionary)"""
"""What is recorded of the few features that a query ends with, nothing (NULL) of those without a harvest; and the harvest,
the newest, which the features of a dictionary are all of. Their statistics say so too, but are a hundred times as long."""


def by_text(
    workspace: Workspace, text: str, dictionaries: Sequence[str] = (), *, offset: int = 0, limit: int = 20
) -> list[Row]:
    """Features of which something is said that contains `text`, in any case of its letters; `total` counts all of them.

    The text itself comes first, then those that hold it as whole words, then by score above control. Empty `dictionaries`
    are all of them.
    """
    where = "where list_contains(?, dictionary)" if dictionaries else ""
    return rows(
        workspace,
        f"""with {SAID}, found as (
            select *, case when lower(text) = lower($1) then 0
                           when regexp_matches(lower(text), '\\b' || regexp_escape(lower($1)) || '\\b') then 1
                           else 2 end as rank
            from said where contains(lower(text), lower($1))),
        {SCORED.format(found="found")},
        one as (select * from scored {where.replace("?", "$2")}
                qualify row_number() over (partition by dictionary, latent order by rank, {BETTER}) = 1),
        shown as (select *, count(*) over () as total from one order by {ORDER}
                  limit {int(limit)} offset {int(offset)})
        {RECORD.format("shown")} order by {ORDER}""",
        [text, *([list(dictionaries)] if dictionaries else [])],
    )


def by_keys(workspace: Workspace, keys: Sequence[str], dictionaries: Sequence[str] = ()) -> list[Row]:
    """Features of which one of the texts with these keys is said, with its `key`; a feature may stand here twice."""
    where = "where list_contains($2, dictionary)" if dictionaries else ""
    return rows(
        workspace,
        f"""with {SAID}, wanted as (select unnest($1) as key),
        found as (select * from (select *, md5(text) as key from said) join wanted using (key)),
        {SCORED.format(found="found")},
        shown as (select * from scored {where})
        {RECORD.format("shown")} order by layer, dictionary, latent""",
        [list(keys), *([list(dictionaries)] if dictionaries else [])],
    )


def keys(workspace: Workspace) -> list[str]:
    """The keys of all different texts that are said of features."""
    return [
        row["key"] for row in rows(workspace, f"with {SAID} select distinct md5(text) as key from said order by key")
    ]


def said(workspace: Workspace) -> int:
    """How many texts are said of features."""
    return rows(workspace, f"with {SAID} select count(*) as n from said")[0]["n"]


def texts(workspace: Workspace, wanted: Sequence[str]) -> dict[str, str]:
    """The texts with these keys."""
    found = rows(
        workspace,
        f"""with {SAID}, wanted as (select unnest($1) as key)
        select distinct key, text from (select text, md5(text) as key from said) join wanted using (key)""",
        [list(wanted)],
    )
    return {row["key"]: row["text"] for row in found}


def described(workspace: Workspace, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Row]:
    """What is recorded and said of some features, by (dictionary, latent); those without a record are absent."""
    found = rows(
        workspace,
        f"""with {SAID}, asked as (select unnest($1) as dictionary, unnest($2) as latent),
        found as (select s.* from said s join asked using (dictionary, latent)), {SCORED.format(found="found")},
        one as (select * from scored qualify row_number() over (partition by dictionary, latent order by {BETTER}) = 1),
        shown as (select * from asked left join one using (dictionary, latent))
        {RECORD.format("shown")} where f.density is not null""",
        [[dictionary for dictionary, _ in wanted], [latent for _, latent in wanted]],
    )
    return {(row["dictionary"], row["latent"]): row for row in found}


def measures(workspace: Workspace, dictionary: str, latents: Sequence[int]) -> dict[int, tuple[float, float]]:
    """The density and the record (the greatest activation of the harvest) of some latents; unknown ones are absent."""
    found = rows(
        workspace,
        """select latent, density, max_activation from features join (select unnest($2) as latent) using (latent)
           where dictionary = $1""",
        [dictionary, list(latents)],
    )
    return {row["latent"]: (row["density"], row["max_activation"]) for row in found}


def dictionaries(workspace: Workspace) -> list[Row]:
    """Dictionaries by depth with their model (its digest and name) and how many features are recorded of each."""
    return rows(
        workspace,
        f"""select d.dictionary, d.name, d.site, d.layer, d.latents, coalesce(h.model, d.model) as model,
               {MODEL.format("d")}, (select count(*) from features f where f.dictionary = d.dictionary) as features
        from dictionaries d left join runs r using (run)
        left join (select dictionary, max(model) as model from harvests group by 1) h using (dictionary)
        order by d.layer, d.site, d.dictionary""",
    )


def feature_named(workspace: Workspace, text: str) -> Feature | None:
    """The feature that `text` names, by its dictionary's digest or the beginning of it; None when it names none."""
    start, _, latent = text.strip().partition("/")
    if not (start.isalnum() and latent.isdecimal()):
        return None
    found = rows(
        workspace,
        "select dictionary from dictionaries where starts_with(dictionary, ?) and latents > ?",
        [start, int(latent)],
    )
    return Feature(found[0]["dictionary"], int(latent)) if len(found) == 1 else None
