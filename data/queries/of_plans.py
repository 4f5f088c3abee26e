"""What a large run would take (`lacewing plan-autointerp`), and what language models were asked so far."""

from __future__ import annotations

from data.queries.base import Row, rows
from data.store import Workspace


def plan_runs(workspace: Workspace) -> list[Row]:
    """Finished plans, newest first."""
    return rows(
        workspace, "select * from runs where verb = 'plan-autointerp' and status = 'done' order by started desc"
    )


def plan(workspace: Workspace, run: str) -> list[Row]:
    """A plan's lines, stage by stage, in its own order."""
    return rows(workspace, "select * from plans where run = ? order by rowid", [run])


def ledger(workspace: Workspace) -> list[Row]:
    """Requests to language models by run and model: how many in each state, tokens, money, seconds; newest first."""
    return rows(
        workspace,
        """select s.run, r.verb, r.started, s.model, s.url, count(*) as requests,
                  count(*) filter (state = 'ok') as ok, count(*) filter (state = 'parse_failed') as parse_failed,
                  count(*) filter (state = 'refused') as refused,
                  count(*) filter (state in ('timed_out', 'rate_limited', 'failed')) as failed,
                  count(*) filter (state = 'stopped_by_budget') as stopped,
                  sum(tokens_in) as tokens_in, sum(tokens_out) as tokens_out, sum(usd) as usd,
                  count(usd) as priced, median(seconds) as median_seconds, quantile_cont(seconds, 0.95) as slow_seconds,
                  sum(attempts) - count(*) as retries, max(s.finished) as last
           from responses s left join runs r using (run) group by s.run, r.verb, r.started, s.model, s.url
           order by last desc""",
    )


def ledger_totals(workspace: Workspace) -> Row:
    """All requests together."""
    [found] = rows(
        workspace,
        """select count(*) as requests, count(*) filter (state = 'ok') as ok, count(*) filter (state <> 'ok') as failed,
                  sum(tokens_in) as tokens_in, sum(tokens_out) as tokens_out, sum(usd) as usd, count(usd) as priced,
                  count(distinct model) as models
           from responses""",
    )
    return found


def failures(workspace: Workspace, limit: int = 50) -> list[Row]:
    """Why requests failed: state, model and reason, the most frequent first."""
    return rows(
        workspace,
        """select state, model, reason, count(*) as count, max(finished) as last from responses where state <> 'ok'
           group by state, model, reason order by count desc, last desc limit ?""",
        [limit],
    )
