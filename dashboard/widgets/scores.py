"""The scores of one explanation as a table: each with its interval, its control, and on request all that qualifies it.

1. A row draws value and control with their intervals on one axis, a tick at chance; the numbers stand beside it.
2. Under it one line says what a reader must know before believing it (screening, degenerate judge, failures ...). The line
   unfolds to what the score is worth at the natural rate, by strength and kind of window, and what is known of its judge.

Every text is escaped; everything is HTML without script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dashboard.widgets.bits import escape, interval, number, percent, signed
from dashboard.widgets.tokens import readable

Row = Mapping[str, Any]
SCREENING = ("embedding", "surprisal")
"""Scorers that ask no large model: right for topics and words, weak for negation, order and position."""
LONGEST = 240


def table(scores: Sequence[Row], label: str) -> str:
    """All scores of one explanation."""
    heads = ("Scorer", "", "Score", "Swapped", "Difference", "n")
    titles = ("", "", "with its 95 % interval", "another feature's explanation on the same windows",
              "score minus swapped, paired bootstrap over documents", "windows or trials judged")  # fmt: skip
    cells = zip(heads, titles, strict=True)
    head = "".join(f'<th title="{escape(t)}">{escape(h)}</th>' for h, t in cells)
    body = "".join(_rows(score) for score in scores)
    return f'<table class="lw-scores" aria-label="{escape(label)}"><thead><tr>{head}</tr></thead>{body}</table>'


def _rows(score: Row) -> str:
    name = f"<th scope=row>{escape(score['scorer'])}</th>"
    more = f"<tr><td colspan=6>{_more(score)}</td></tr>"
    if score["error"]:
        said = escape(readable(score["error"], LONGEST))
        return f'<tbody class="lw-grey"><tr>{name}<td colspan=5>no score: {said}</td></tr>{more}</tbody>'
    bare = score["control"] is None
    cells = [
        _axis(score), _bracketed(interval(score)), "no control" if bare else _bracketed(interval(score, "control")),
        "" if bare else _difference(score), number(score["trials"]),
    ]  # fmt: skip
    kind = ' class="lw-grey"' if bare else ""
    return f"<tbody{kind}><tr>{name}{''.join(f'<td>{c}</td>' for c in cells)}</tr>{more}</tbody>"


def _bracketed(text: str) -> str:
    """A number and its interval, between which a line may break."""
    value, _, rest = text.partition(" [")
    return f"<i>{escape(value)}</i>" + (f" <i>[{escape(rest)}</i>" if rest else "")


def _difference(score: Row) -> str:
    value, lower, upper = (score[f"difference{end}"] for end in ("", "_lower", "_upper"))
    tone = "" if lower is None or lower <= 0 <= upper else "lw-blue" if value > 0 else "lw-red"
    span = "" if lower is None else f" [{signed(lower, 2)}, {signed(upper, 2)}]"
    return f'<span class="{tone}">{_bracketed(signed(value, 2) + span)}</span>'


def _axis(score: Row) -> str:
    """Value and control as dots on their intervals, from 0 to 1 or as far as they reach."""
    ends = [score.get(f"{n}{e}") for n in ("", "control") for e in ("_lower", "_upper")] + [
        score["lower"],
        score["upper"],
    ]
    known = [end for end in ends if end is not None]
    low, high = min(0.0, *known, 0.0), max(1.0, *known, 1.0)

    def at(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.1f}%"

    chance = score.get("chance")
    tick = "" if chance is None else f'<s style="left:{at(chance)}"></s>'
    return f'<div class="lw-axis" aria-hidden="true">{tick}{_dot(score, "control", at)}{_dot(score, "", at)}</div>'


def _dot(score: Row, name: str, at: Any) -> str:
    value = score["control" if name else "value"]
    if value is None:
        return ""
    before = f"{name}_" if name else ""
    lower, upper = (score.get(f"{before}{end}") for end in ("lower", "upper"))
    kind = "lw-control" if name else "lw-own"
    bar = "" if lower is None else f'<u class="{kind}" style="left:{at(lower)};right:calc(100% - {at(upper)})"></u>'
    return f'{bar}<b class="{kind}" style="left:{at(value)}"></b>'


# What qualifies a score ----------------------------------------------------------------------------------------------


def marks(score: Row) -> list[str]:
    """What a reader must know of a score before believing it, the gravest first."""
    found = []
    if score.get("degenerate"):
        found.append("degenerate judge")
    if (score.get("judge_lower") or 1) <= 0:
        found.append("judge cannot tell planted features apart")
    if score["control"] is None and not score["error"]:
        found.append("no control: cannot be told from chance")
    if score.get("failures"):
        found.append(f"{score['failures']} failure{'s' if score['failures'] > 1 else ''}")
    if score["scorer"].partition(":")[0] in SCREENING:
        found.append("screening")
    if score.get("added") is not None:
        found.append(f"adds {signed(score['added'], 2)} to the rule")
    if score.get("natural_f1") is not None:
        found.append(f"F1 {number(score['natural_f1'], 2)} at the natural rate")
    return found


def _more(score: Row) -> str:
    said = " · ".join(marks(score)) or "what it rests on"
    lines = "".join(f"<dt>{escape(k)}</dt><dd>{v}</dd>" for k, v in _lines(score, score["details"] or {}))
    return f"<details><summary>{escape(said)}</summary><dl>{lines}</dl></details>" if lines else escape(said)


def _lines(score: Row, details: Row) -> Iterable[tuple[str, str]]:
    """What unfolds: names and escaped HTML."""
    if score.get("statistic"):
        yield "Statistic", escape(f"{score['statistic']}, chance {number(score.get('chance'), 2)}")
    if score.get("natural_rate") is not None:
        yield "At the natural rate", _natural(score)
    if score.get("balanced_accuracy") is not None:
        yield "Balanced accuracy", escape(f"{interval(score, 'balanced_accuracy')}; hides labels that are too broad")
    if score.get("rule") is not None:
        yield "Best rule, same windows", escape(f"{interval(score, 'rule')}; the label adds {interval(score, 'added')}")
    if score.get("agreement") is not None:
        yield "Agreement", escape(f"{percent(score['agreement'], 0)} of verdicts are the same in two orders")
    if score.get("judge"):
        yield "Judge", _judge(score)
    yield from _parts(details)
    if score.get("failures"):
        states = ", ".join(f"{n} {state}" for state, n in (details.get("states") or {}).items())
        yield "Failures", escape(f"{score['failures']} requests: {states or 'not told'}")
    if score.get("tokens_in"):
        yield "Asked", escape(f"{score['tokens_in']:,} tokens in, {score['tokens_out'] or 0:,} out")
    for remark in [*(details.get("remarks") or []), *(details.get("reasons") or [])]:
        yield "Remark", escape(readable(str(remark), LONGEST))
    yield "Run", escape(score["run"])


def _natural(score: Row) -> str:
    rate = percent(score["natural_rate"], 2)
    names = {"precision": "natural_precision", "F1": "natural_f1", "average precision": "natural_auprc"}
    known = [f"{name} {interval(score, column)}" for name, column in names.items() if score.get(column) is not None]
    return escape(f"{rate} of windows are active; " + ("; ".join(known) or "no random windows to see false yes in"))


def _judge(score: Row) -> str:
    if score.get("judge_difference") is None:
        return escape(f"{score['judge']}, not calibrated on planted features")
    lower, upper = score.get("judge_lower"), score.get("judge_upper")
    span = f"{signed(score['judge_difference'], 2)} [{signed(lower, 2)}, {signed(upper, 2)}]"
    return escape(f"{score['judge']}; on planted features right minus swapped description: {span}")


def _parts(details: Row) -> Iterable[tuple[str, str]]:
    """The score by quantile of strength and by kind of silent window."""
    for title, name, spelled in (("By strength", "quantiles", _quintile), ("By silent windows", "kinds", str)):
        rows = [row for row in details.get(name) or [] if row.get("value") is not None]
        if rows:
            key = "quantile" if name == "quantiles" else "kind"
            said = (f"{spelled(r[key])} {interval(r)} ({r.get('active')} + {r.get('silent')})" for r in rows)
            yield title, "<br>".join(escape(text) for text in said)


def _quintile(number_: int) -> str:
    return f"{20 * number_} to {20 * number_ + 20} %:"
