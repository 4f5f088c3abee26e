"""What methods make of things whose truth is known: planted features, compiled programs, and the judges' cards."""

from __future__ import annotations

from data.queries.base import Row, rows
from data.store import Workspace

JUDGING = "planted features"
"""The task of the rows of `bench` that say what a judge makes of planted features."""


def bench_runs(workspace: Workspace) -> list[Row]:
    """Finished runs of `lacewing bench-autointerp`, newest first."""
    return rows(
        workspace, "select * from runs where verb = 'bench-autointerp' and status = 'done' order by started desc"
    )


def bench(workspace: Workspace, run: str) -> list[Row]:
    """Every number that a run wrote into `bench`, in its own order."""
    return rows(workspace, "select * from bench where run = ? order by rowid", [run])


def ladder_truth(workspace: Workspace, run: str) -> list[Row]:
    """What the labels of each rung are really worth, as means over planted features."""
    return rows(
        workspace,
        """select rung, avg(f1) as f1, avg(precision) as precision, avg(recall) as recall, avg(extent) as extent,
                  count(*) as features
           from (select distinct latent, rung, f1, precision, recall, extent from ground where run = ?) group by rung""",
        [run],
    )


def planted(workspace: Workspace, run: str) -> list[Row]:
    """The planted features of a run: kind, latent, and the rule in words."""
    return rows(
        workspace,
        """select latent, any_value(kind) as kind, any_value(text) filter (rung = 'exact') as text
           from ground where run = ? group by latent order by kind, latent""",
        [run],
    )


def ladder(workspace: Workspace, run: str, latent: int) -> list[Row]:
    """One planted feature's labels, and what every scorer makes of each."""
    return rows(workspace, "select * from ground where run = ? and latent = ? order by method, rung", [run, latent])


def explained(workspace: Workspace, run: str, latent: int) -> list[Row]:
    """What the explainers said of one planted feature."""
    return rows(workspace, "select * from ground_explained where run = ? and latent = ? order by method", [run, latent])


def without_score(workspace: Workspace, run: str) -> list[Row]:
    """How many rungs each scorer, and how many features each explainer, has nothing for, with one reason."""
    return rows(
        workspace,
        """select method, count(*) as failed, any_value(error) as reason from
             (select method, error from ground where run = $1
              union all select method, error from ground_explained where run = $1)
           where error is not null group by method order by method""",
        [run],
    )


def judges(workspace: Workspace) -> list[Row]:
    """Each judge with each scorer that asked it: how well it tells right from foreign labels on planted features, how often
    two orders of asking agree, in how many scores it was called degenerate, and how many have errors."""
    return rows(
        workspace,
        """select s.judge, s.scorer, count(*) as scores, count(s.error) as errors,
                  count(*) filter (degenerate) as degenerate, count(*) filter (control is null and s.error is null) as bare,
                  avg(agreement) as agreement, sum(failures) as failures,
                  arg_max(judge_difference, r.started) as judge_difference,
                  arg_max(judge_lower, r.started) as judge_lower, arg_max(judge_upper, r.started) as judge_upper
           from scores s left join runs r using (run) where s.judge is not null
           group by s.judge, s.scorer order by s.judge, s.scorer""",
    )


def cards(workspace: Workspace) -> list[Row]:
    """What each judge made of planted features before it judged: rows of `bench`."""
    return rows(workspace, "select * from bench where task = ? order by site, method, rowid", [JUDGING])


def selftests(workspace: Workspace) -> list[Row]:
    """Finished runs of `lacewing selftest`, newest first."""
    return rows(workspace, "select * from runs where verb = 'selftest' and status = 'done' order by started desc")
