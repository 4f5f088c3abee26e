"""A job where it belongs: a button with the equal command, and, once started, how it goes.

1. `offer` looks for a job that does or did the same, so that what was started is found again after a reload.
2. While it goes on, a fragment of its own refreshes it; when it ends the page is drawn again, for it shows something new.
3. `follow` draws a job that is known, `strip` its lines alone.

A fragment with a timer within a fragment shows stale content (streamlit#16708): there it is drawn without a timer.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitDuplicateElementKey
from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState

from dashboard import commands, jobs, source
from dashboard.jobs import Job, Seen
from dashboard.steps import State
from dashboard.widgets import bits
from data.errors import Mistake
from data.queries import of_jobs
from data.words import digest

EVERY = 2.0
"""Seconds between two looks at a job that goes on."""
GLYPHS = {
    "waiting": "○", "running": "▶", "stalled": "‖", "stopping": "◼", "done": "✓", "failed": "✗", "cancelled": "◼",
    "stopped": "◼", "killed": "✗",
}  # fmt: skip
BAD = ("failed", "killed", "stalled")
RECENT = 24 * 3600.0
"""Seconds for which the end of a job is told where it was offered."""


def offer(key: str, label: str, verb: str, arguments: Sequence[str], note: str = "") -> None:
    """A button that starts `lacewing VERB ARGUMENTS` as a job, the equal command beside it, and how the job goes."""
    found = newest(verb, arguments)
    if found and found.busy:
        _after(key, found)
        return
    with st.container(horizontal=True, vertical_alignment="center", key=f"{key}_row"):
        start_button(key, label, verb, arguments, icon=":material/play_arrow:")
        command = commands.shown(verb, arguments, source.workspace().folder)
        said = f' <span class="lw-note">{bits.escape(note)}</span>' if note else ""
        st.html(f'<div class="lw-command"><code>{bits.escape(command)}</code>{said}</div>')
    _after(key, found)


def buttons(key: str, verb: str, words: Sequence[str], *, forecast: bool = False) -> None:
    """Start, and where the verb has one a forecast of what it takes; beneath them how either goes."""
    found = newest(verb, words)
    dry = (*words, "--dry-run")
    foreseen = newest(verb, dry) if forecast else None
    with st.container(horizontal=True, vertical_alignment="center", key=f"{key}_row"):
        if not (found and found.busy):
            start_button(key, "Start", verb, words, type="primary", icon=":material/play_arrow:")
        if forecast and not (foreseen and foreseen.busy):
            tip = "Says what it would take, and changes nothing"
            start_button(f"{key}_dry", "Forecast", verb, dry, icon=":material/timer:", help=tip)
    _after(key, found)
    if forecast:
        _after(f"{key}_dry", foreseen, lines=14)


def newest(verb: str, arguments: Sequence[str]) -> Seen | None:
    """The newest job that means the same, as it is now."""
    found = jobs.like(source.workspace(), verb, arguments)
    return see(found) if found else None


def see(job: Job) -> Seen:
    """The job as it is now; the records of runs come from memory while they stay the same."""
    return jobs.see(source.workspace(), job, _records())


def _records() -> Sequence[Any]:
    try:
        return source.ask(of_jobs.processes)
    except Mistake:
        return []


def start_button(key: str, label: str, verb: str, arguments: Sequence[str], **options: Any) -> None:
    """The button alone; why the job could not be started is kept for `_said`."""
    st.button(label, key=f"{key}_start", on_click=_start, args=(key, verb, tuple(arguments)), **options)


def _start(key: str, verb: str, arguments: tuple[str, ...]) -> None:
    try:
        jobs.start(source.workspace(), verb, arguments)
        st.session_state.pop(f"{key}_said", None)
    except Mistake as mistake:
        st.session_state[f"{key}_said"] = str(mistake)


def _said(key: str) -> None:
    if said := st.session_state.get(f"{key}_said"):
        st.html(f'<p class="lw-note" role="alert">{bits.escape(said)}</p>')


def follow(key: str, seen: Seen, *, lines: int = 6, own: bool = False) -> None:
    """How a job goes, refreshed while it goes on, with a button that stops it; a link unless it is its `own` page."""
    timer = EVERY if seen.busy and not within_fragment() else None
    st.fragment(_follow, run_every=timer)(key, seen.job.job, busy=seen.busy, lines=lines, own=own)


def _follow(key: str, job: str, *, busy: bool, lines: int, own: bool) -> None:
    seen = see(jobs.find(source.workspace(), job))
    if busy and not seen.busy:
        st.rerun()
    strip(seen, lines=lines)
    with st.container(horizontal=True, vertical_alignment="center", key=f"{key}_bar"):
        if seen.busy:
            label = "End at once" if seen.job.cancelled else "Cancel"
            st.button(label, key=f"{key}_cancel", on_click=_cancel, args=(key, job), icon=":material/stop:")
        if not own:
            link(seen.job)
    _said(key)


def _cancel(key: str, job: str) -> None:
    try:
        st.session_state[f"{key}_said"] = jobs.cancel(source.workspace(), job)
    except Mistake as mistake:
        st.session_state[f"{key}_said"] = str(mistake)


def link(job: Job) -> None:
    """A way to the job's own page."""
    bits.link("jobs", f"Job {job.job}", {"job": job.job})


def strip(seen: Seen, *, lines: int = 6) -> None:
    """State, progress, what is left, and the end of the log."""
    box(seen.state, facts_of(seen), seen.job.command, busy=seen.busy, log=log_of(seen.job, lines) if lines else "")


def box(told: State, facts: Sequence[str], command: str, *, busy: bool, log: str = "") -> None:
    """A state with what there is to say about it; `log` is HTML."""
    tone = "lw-bad" if told.word in BAD else "lw-busy" if busy else ""
    said = "".join(f"<span>{bits.escape(fact)}</span>" for fact in facts)
    bar = _bar(told.share, told.phase) if told.share is not None and busy else ""
    st.html(
        f'<div class="lw-job {tone}" role="status"><div><b>{GLYPHS.get(told.word, "")} {bits.escape(told.word)}</b>{said}'
        f"</div>{bar}<div><code>{bits.escape(command)}</code></div>{log}</div>"
    )


def _bar(share: float, phase: str) -> str:
    percent = round(100 * share, 1)
    return (
        f'<div class="lw-bar" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-label="{bits.escape(phase or "progress")}"><i style="width:{percent}%"></i></div>'
    )


def facts_of(seen: Seen) -> list[str]:
    """What there is to say of a job beside its state, each in a few words."""
    told, mine = seen.state, seen.job
    took = f"{'for' if seen.busy else 'took'} {bits.duration((mine.ended or time.time()) - mine.started)}"
    said = [jobs.sentence(mine)] if told.word in ("failed", "killed") else []
    return [*(pace_of(told) if seen.busy else []), took, *filter(None, said)]


def pace_of(told: State) -> list[str]:
    """How far something under way is, and how fast."""
    found = [told.phase] if told.phase else []
    if told.share is not None:
        found.append(f"{100 * told.share:.0f} %")
    if told.left is not None:
        found.append(f"about {bits.duration(told.left)} left in this phase")
    if told.word == "stalled" and told.age is not None:
        found.append(f"no heartbeat for {bits.duration(told.age)}")
    return found


def log_of(job: Job, lines: int) -> str:
    """The end of the log as HTML; empty when nothing was printed."""
    said = jobs.tail(job, lines)
    return f'<pre class="lw-log" aria-label="log">{bits.escape(chr(10).join(said))}</pre>' if said else ""


def way(what: str, command: str, tell: Callable[[str, str], None]) -> None:
    """`bits.gap` for a command: `tell` says what is missing; where it is one of ours, a button starts it beside that."""
    asked = commands.understood(command, os.environ.get("LACEWING_WORKSPACE", ""))
    key = f"gap_{digest(what, command)}"
    try:
        row = st.container(horizontal=True, vertical_alignment="center", key=key) if asked else None
    except StreamlitDuplicateElementKey:
        row = None  # the same was said on this page already, with its button
    if asked is None or row is None:
        tell(what, command)
        return
    seen = newest(asked.verb, asked.words)
    with row:
        tell(what, command)
        if not (seen and seen.busy):
            _buttons(key, asked)
    _after(key, seen)


def _buttons(key: str, asked: commands.Asked) -> None:
    with contextlib.suppress(Mistake):  # a command that lacks what only a person can give has the link alone
        commands.parse(asked.verb, asked.words)
        start_button(key, "Start", asked.verb, asked.words, help="Runs this command as a job")
    bits.link("jobs", "Set options", {"verb": asked.verb, "with": shlex.join(asked.words)})


def _after(key: str, seen: Seen | None, lines: int = 4) -> None:
    _said(key)
    if seen and seen.busy:
        follow(key, seen)
    elif seen and time.time() - (seen.job.ended or seen.job.started) < RECENT:
        strip(seen, lines=lines)
        link(seen.job)


def within_fragment() -> bool:
    """Whether what is drawn now is part of a fragment."""
    return ThreadState.get().fragment_id is not None
