"""Dictionaries, and how the runs that train them go."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow.parquet as pq

from data.queries.base import Row, rows
from data.store import Workspace

DENSITY_EDGES = tuple(step / 4 for step in range(-20, 1))
"""Borders of the bins of a density histogram: log10 of the share of tokens, four bins to a decade. The first bin
holds rarer latents too; those that never fire are counted apart."""


def dictionaries(workspace: Workspace) -> list[Row]:
    """Dictionaries by depth, each with how many features are recorded, explained and in circuits."""
    return rows(
        workspace,
        """select d.*, coalesce(f.features, 0) as features, coalesce(e.explained, 0) as explained,
                  coalesce(n.in_circuits, 0) as in_circuits
           from dictionaries d
           left join (select dictionary, count(*) as features from features group by 1) f using (dictionary)
           left join (select dictionary, count(distinct latent) as explained from explanations
                      where text is not null group by 1) e using (dictionary)
           left join (select dictionary, count(distinct latent) as in_circuits from nodes
                      where latent is not null group by 1) n using (dictionary)
           order by d.layer, d.site, d.dictionary""",
    )


def heldout_curve(workspace: Workspace, run: str) -> list[Row]:
    """What a training run found on held-out text as it went, by step, one row a dictionary; it is read from parts, and
    so waits for nobody. In the units of the final metrics, without intervals:

    `step`, `tokens` (trained on so far), `place` (of the dictionary in its run), `site` (what it writes; several with
    commas), `explained_variance`, `cosine`, `l0`, `l2_ratio` (norm of reconstruction to norm of activation), `dead` and
    `dense` (shares of latents, of the `heldout_tokens` alone), `ce_recovered` against mean and `ce_recovered_zero`
    against zero ablation (NULL when ablation costs nothing), `kl` (nats per token), `density_never` and
    `density_counts` (latents that never fire, and those in each bin of `DENSITY_EDGES`), `time` (seconds of the epoch).
    """
    parts = sorted((workspace.folder / "metrics" / run).glob("heldout-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def training_runs(workspace: Workspace) -> list[Row]:
    """Runs that train dictionaries (`train` and `sweep`), newest first."""
    return rows(workspace, "select * from runs where verb in ('train', 'sweep') order by started desc")


def training_curve(workspace: Workspace, run: str, points: int = 500) -> list[Row]:
    """The training curve of a run so far, at most `points` rows a dictionary, each the mean over neighbouring steps:
    `dictionary`, `site`, `step` (the last of them), `loss`, `explained_variance`, `l0`, `dead`.

    It is read from parts, and so waits for nobody.
    """
    parts = [str(part) for part in sorted((workspace.folder / "metrics" / run).glob("part-*.parquet"))]
    if not parts:
        return []
    name = "dictionary" if "dictionary" in pq.read_schema(parts[0]).names else "site"
    sql = f"""with steps as (select *, (select max(step) from read_parquet($1)) as last from read_parquet($1))
        select {name} as dictionary, any_value(site) as site, max(step) as step, avg(loss) as loss,
               avg(explained_variance) as explained_variance, avg(l0) as l0, avg(dead) as dead
        from steps group by {name}, (step - 1) * $2 // greatest(last, $2) order by dictionary, step"""
    try:
        with duckdb.connect() as db:
            found = db.execute(sql, [parts, points]).fetchall()
    except duckdb.IOException:  # a run that goes on from a checkpoint removes the parts written after it
        return []
    names = ("dictionary", "site", "step", "loss", "explained_variance", "l0", "dead")
    return [dict(zip(names, row, strict=True)) for row in found]


def dictionaries_of_run(workspace: Workspace, run: str) -> list[Row]:
    """What a finished training run made, in its own order.

    By the run's summary, not by the column `run`: an equal dictionary that another run makes is recorded under that one.
    """
    return rows(
        workspace,
        """select d.* from dictionaries d, runs r
           where r.run = ? and list_contains(cast(r.summary->'dictionaries' as varchar[]), d.dictionary)
           order by coalesce(cast(d.metrics->>'place' as integer), 0), d.layer, d.site""",
        [run],
    )


def dictionary(workspace: Workspace, digest: str) -> Row | None:
    """One dictionary with the run that made it (config, verb, started; NULL when it came from elsewhere unrecorded)."""
    sql = """select d.*, r.verb, r.config, r.started, r.version, r.seed from dictionaries d left join runs r using (run)
             where d.dictionary = ?"""
    return next(iter(rows(workspace, sql, [digest])), None)


def harvests_of(workspace: Workspace, digest: str) -> list[Row]:
    """The harvests of a dictionary, newest first: harvest, documents, tokens, run, started."""
    sql = """select h.harvest, h.documents, h.tokens, h.run, r.started from harvests h left join runs r using (run)
             where h.dictionary = ? order by r.started desc nulls last"""
    return rows(workspace, sql, [digest])


def densities(workspace: Workspace, digest: str) -> Row:
    """Of the recorded features of a dictionary: how many (`features`), how many never fire (`never`), fire on more than a
    tenth of the tokens (`dense`), and how many lie in each bin of `DENSITY_EDGES` (`counts`)."""
    low, bins = DENSITY_EDGES[0], len(DENSITY_EDGES) - 1
    sql = """select least(greatest(floor((log10(density) - $2) * 4), 0), $3 - 1)::integer as bin, count(*) as n
             from features where dictionary = $1 and density > 0 group by 1"""
    found = {row["bin"]: row["n"] for row in rows(workspace, sql, [digest, low, bins])}
    sql = """select count(*) as features, count(*) filter (where density = 0) as never,
                    count(*) filter (where density > 0.1) as dense from features where dictionary = ?"""
    [totals] = rows(workspace, sql, [digest])
    return totals | {"counts": [found.get(bin, 0) for bin in range(bins)]}


def examined(workspace: Workspace, digest: str) -> Row | None:
    """The newest run of the doctor on a dictionary that is done: its `findings`, run, config and when."""
    sql = """select run, started, config, summary->'findings' as findings from runs
             where verb = 'doctor' and status = 'done' and summary->>'dictionary' = ? order by started desc limit 1"""
    return next(iter(rows(workspace, sql, [digest])), None)


MOST_WEIGHTS = 256 * 2**20
"""Bytes of weights that are read to look at the norms of a decoder."""


def decoder_norms(workspace: Workspace, digest: str) -> list[float] | None:
    """The norm of each decoder row, from the weights on disk; None when they are missing, larger than `MOST_WEIGHTS`, or of
    a type that numpy has not."""
    from safetensors import SafetensorError, safe_open

    path = workspace.folder / "dictionaries" / digest / "sae_weights.safetensors"
    try:
        if path.stat().st_size > MOST_WEIGHTS:
            return None
        with safe_open(path, framework="np") as weights:
            return np.linalg.norm(weights.get_tensor("W_dec"), axis=1).tolist()
    except (OSError, SafetensorError, TypeError, ValueError):
        return None
