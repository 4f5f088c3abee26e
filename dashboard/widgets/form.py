"""A form for any verb, made of its config: what is asked first in sight, the rest folded away.

1. The fields are `dashboard.options`; the address holds what was filled in as the words of the command (`with=`), so that a
   reload or a link gives the same form.
2. Each text is checked where it stands; then the words are read as the command line would read them.
3. The equal command is shown all the while. Keys are not asked for: the environment has them, and the form says which.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import commands, options, source
from dashboard.options import Option
from dashboard.widgets import bits, job
from data.errors import Mistake
from data.queries import of_jobs
from data.verbs import VERBS

WITH = "with"
"""The parameter of the address that holds the words."""
KEYS = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL")
Names = Mapping[str, Mapping[str, str]]


def form(verb: str) -> None:
    """Draws the form of `verb`; a button starts what it says."""
    asked = options.asked(verb)
    _fill(verb, asked)
    names = _names(asked)
    st.html(f'<p class="lw-note">{bits.escape(commands.config_of(verb).__doc__ or VERBS[verb].help)}</p>')
    first, rest = [o for o in asked if o.first], [o for o in asked if not o.first]
    _grid(verb, asked, first, names, told=True)
    if rest:
        changed = sum(1 for o in rest if _value(verb, o) not in ("", o.default))
        with st.expander(f"More options ({len(rest)}{f', {changed} changed' if changed else ''})", key=f"more_{verb}"):
            _grid(verb, asked, rest, names, told=False)
    _endpoint(verb)
    _ending(verb, asked)


def _fill(verb: str, asked: Sequence[Option]) -> None:
    """Takes what the address says, unless the form itself has written it."""
    written, said = f"form_{verb}_written", st.query_params.get(WITH, "")
    drawn = f"form_{verb}_{asked[0].name}" in st.session_state if asked else True
    if drawn and st.session_state.get(written) == said:
        return
    try:
        values = options.values_of(verb, shlex.split(said))
    except (Mistake, ValueError) as fault:
        bits.mistake(f"The address says {said!r}: {fault} The form is as if nothing had been filled in.")
        values = {}
    for option in asked:
        value = values.get(option.name, option.default or "")
        st.session_state[f"form_{verb}_{option.name}"] = _held(option, value)
    st.session_state[written] = said


def _held(option: Option, value: str) -> bool | str | list[str] | None:
    """The value as the widget of the option holds it."""
    if option.kind is bool:
        return value == "true"
    if option.many:
        return [piece.strip() for piece in value.split(",") if piece.strip()]
    return (value or None) if option.known or option.ids else value


def _value(verb: str, option: Option) -> str:
    """What the widget of the option holds, as text."""
    held = st.session_state.get(f"form_{verb}_{option.name}")
    if isinstance(held, bool):
        return str(held).lower()
    if isinstance(held, list):
        return ",".join(held)
    return str(held or "").strip()


def _write(verb: str, asked: Sequence[Option]) -> None:
    words = options.words_of(asked, {option.name: _value(verb, option) for option in asked})
    said = shlex.join(words)
    st.session_state[f"form_{verb}_written"] = said
    if said:
        st.query_params[WITH] = said
    else:
        st.query_params.pop(WITH, None)


def _names(asked: Sequence[Option]) -> Names:
    """What the workspace has to offer by name; nothing while its records cannot be read."""
    if not any(option.ids for option in asked):
        return {}
    try:
        return source.ask(of_jobs.nameable)
    except Mistake:
        return {}


def _grid(verb: str, asked: Sequence[Option], shown: Sequence[Option], names: Names, *, told: bool) -> None:
    """Three fields a row; `told` writes what each is beneath it, else a tip tells."""
    for start in range(0, len(shown), 3):
        for column, option in zip(st.columns(3), shown[start : start + 3], strict=False):
            with column:
                _field(verb, asked, option, names.get(option.ids, {}), tip=not told)
                if fault := options.fault(option, _value(verb, option)):
                    st.html(f'<p class="lw-fault" role="alert">{bits.escape(fault)}</p>')
                elif told:
                    st.html(f'<p class="lw-note">{bits.escape(option.help)}</p>')


def _field(verb: str, asked: Sequence[Option], option: Option, ids: Mapping[str, str], *, tip: bool) -> None:
    common: dict[str, Any] = {
        "label": bits.escape_markdown(option.label), "key": f"form_{verb}_{option.name}", "on_change": _write,
        "args": (verb, asked), "help": bits.escape_markdown(option.help) if tip and option.help else None,
    }  # fmt: skip
    choices = _choices(verb, option, ids)
    named = functools.partial(_named, ids=ids)
    if option.kind is bool:
        st.toggle(**common)
    elif option.many:
        st.multiselect(**common, options=choices, accept_new_options=True, format_func=named)
    elif choices:
        st.selectbox(**common, options=choices, accept_new_options=True, format_func=named, index=None)
    else:
        st.text_input(**common, placeholder=option.default or "")


def _named(name: str, ids: Mapping[str, str]) -> str:
    return f"{name}  {ids[name]}" if name in ids else name


def _choices(verb: str, option: Option, ids: Mapping[str, str]) -> list[str]:
    """What may be chosen: parts or ids, the default among them, and what is chosen now."""
    if not option.known and not option.ids:
        return []
    held = _value(verb, option)
    pieces = [*(option.default or "").split(","), *(held.split(",") if option.many else [held])]
    return list(dict.fromkeys([*(p.strip() for p in pieces if p.strip()), *option.known, *ids]))


def _endpoint(verb: str) -> None:
    if not any(option.name == "llm_model" for option in options.asked(verb)):
        return
    told = ", ".join(f"{name} is {'set' if os.environ.get(name) else 'not set'}" for name in KEYS)
    st.html(
        f'<p class="lw-note">A language model at an endpoint is named by the environment in which the dashboard was '
        f"started, never in a form: {bits.escape(told)}.</p>"
    )


def _ending(verb: str, asked: Sequence[Option]) -> None:
    """The equal command with its buttons, or what is wrong with it."""
    words = options.words_of(asked, {option.name: _value(verb, option) for option in asked})
    try:
        if faults := [fault for o in asked if (fault := options.fault(o, _value(verb, o)))]:
            raise Mistake(" ".join(faults))
        commands.parse(verb, words)
    except Mistake as mistake:
        st.html(f'<div class="lw-mistake" role="alert"><strong>Not yet.</strong> {bits.escape(mistake)}</div>')
        st.code(commands.shown(verb, words, source.workspace().folder), language=None, wrap_lines=True)
        return
    st.code(commands.shown(verb, words, source.workspace().folder), language=None, wrap_lines=True)
    job.buttons(f"form_{verb}", verb, words, forecast=options.has_forecast(verb))
