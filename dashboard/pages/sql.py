"""SQL: any question to the store, read-only, with limits, saved under a name, its rows as a list.

1. The address holds the question (`query=`, or `view=` when it is saved or long), so a link asks it again.
2. It is answered in a process of its own (`data.sql_process`): no file can be reached, nothing written, and it can be
   cancelled at any moment. The first rows are shown; the CSV holds all, up to a bound.
3. Columns that name a feature or circuit are links, and make a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import address, judging, keeping, source, steps
from dashboard.questions import EXAMPLES
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, cell, link, row, table
from dashboard.widgets.tokens import readable
from data import judgement, queries, sql, sql_process, views
from data.errors import Mistake
from data.queries import of_exports
from data.sql import Bounded, Limits
from data.sql_process import Question

TITLE = "SQL"
ICON = ":material/database_search:"
GROUP = "Work"
ORDER = 62
LONG = 1200
"""Characters of a question that an address can hold; a longer one becomes a saved view."""
MOST, LARGEST = 500_000, 60_000_000
"""Rows and bytes of a CSV."""
TIMES = {5: "5 s", 20: "20 s"}
AT_ONCE = 1.5
"""Seconds in which an answer is waited for before a way to cancel is shown."""
EMPTY = "select verb, status, count(*) as runs\nfrom runs group by all order by runs desc"


def render() -> None:
    """Draws the page."""
    query = _asked()
    bits.heading("SQL", detail="read-only: no files, no writes; a question that takes too long is stopped")
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        _box(query)
        judging.complaint()
        if not source.ask(queries.counts).runs:
            bits.gap("Every table is still empty.", steps.command(source.workspace(), "demo"))
        if query:
            _answer(query)
    with right:
        _examples()
        _schema()


def _asked() -> str:
    """The question in the address."""
    if view := st.query_params.get("view"):
        found = source.ask(views.load, view)
        if found.page != "sql":
            raise Mistake(
                f"View {view!r} is of the page {found.page!r}, not a saved query. Take it out of the address."
            )
        return str(found.state.get("query", ""))
    return st.query_params.get("query", "")


def _seconds() -> int:
    """After how many seconds the address lets a question be stopped."""
    text = st.query_params.get("seconds", str(min(TIMES)))
    if text not in map(str, TIMES):
        raise Mistake(f"seconds = {text!r} in the address is not a limit; {' or '.join(map(str, TIMES))} seconds are.")
    return int(text)


def _box(query: str) -> None:
    if st.session_state.get("sql_seen") != (query, _seconds()):
        st.session_state["sql_seen"], st.session_state["sql_text"] = (query, _seconds()), query or EMPTY
        st.session_state["sql_seconds"] = _seconds()
    with st.form("sql_form", border=False):
        st.text_area("Question", key="sql_text", height=170, label_visibility="collapsed", placeholder="select …")
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.form_submit_button("Ask", on_click=_ask, help="Ctrl+Enter")
            st.selectbox("Stop after", list(TIMES), format_func=lambda n: f"stop after {TIMES[n]}", key="sql_seconds",
                         label_visibility="collapsed", width=160)  # fmt: skip
            st.html('<span class="lw-note">Ctrl+Enter asks; while it reads, runs wait to write</span>')


def _ask() -> None:
    """Writes the question to the address."""
    text = str(st.session_state["sql_text"]).strip()
    st.session_state.pop("sql_question", None)
    _write(text)


def _write(text: str, view: str = "") -> None:
    try:
        if len(text) > LONG:
            view = view or views.save(source.workspace(), "sql", {"query": text})
        seconds = st.session_state.get("sql_seconds") or min(TIMES)
        kept = "" if seconds == min(TIMES) else str(seconds)
        address.change({"query": "" if view else text, "view": view, "seconds": kept})
    except Mistake as mistake:
        st.session_state[judging.COMPLAINT] = str(mistake)


def _answer(query: str) -> None:
    question = _question(query)
    if not question.wait(AT_ONCE):
        st.fragment(_waiting, run_every=0.5)(question)
    elif question.answer is None:
        bits.gap(readable(question.problem, 700))
    else:
        _rows(question, question.answer)


def _question(query: str) -> Question:
    """The question under way or answered; asked anew when it is another, or the store has changed since."""
    shown = source.workspace()
    key = (query, queries.version(shown), _seconds())
    kept = st.session_state.get("sql_question")
    if kept and kept[0] == key:
        return kept[1]
    if kept:
        kept[1].cancel()
    question = sql_process.start(shown, query, Limits(seconds=float(_seconds())))
    st.session_state["sql_question"] = (key, question)
    return question


def _waiting(question: Question) -> None:
    if question.done:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(f'<span role="status">Reading for {question.seconds:.0f} s …</span>')
        st.button("Cancel", key="sql_cancel", on_click=question.cancel, icon=":material/stop:")


def _rows(question: Question, answer: Bounded) -> None:
    many = f"the first {len(answer.rows):,} rows" if answer.more else f"{len(answer.rows):,} rows"
    bits.section("Answer", f"{many} in {question.seconds:.1f} s")
    if not answer.columns:
        bits.gap("The answer has no columns.")
        return
    columns = [Column(name, "num" if _numeric(answer, place) else "") for place, name in enumerate(answer.columns)]
    rows = [row([_cell(answer.columns, line, place) for place in range(len(line))]) for line in answer.rows]
    table("sql_answer", columns, rows=rows, options=Options("Answer", height=520))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        _files(question.query)
        _save(question.query)
        _list(question.query, answer)


def _numeric(answer: Bounded, place: int) -> bool:
    return any(isinstance(line[place], int | float) and not isinstance(line[place], bool) for line in answer.rows[:50])


def _cell(columns: Sequence[str], line: Sequence[Any], place: int) -> dict[str, Any]:
    """A value as text; one that names a feature or a circuit leads there."""
    value, name = line[place], columns[place]
    if value is None:
        return cell("", tone="quiet", raw="")
    text = f"{value:.6g}" if isinstance(value, float) else readable(str(value), 400)
    if name == "latent" and (feature := _feature(columns, line)):
        return link(text, "feature", feature=feature)
    if name == "circuit" and isinstance(value, str):
        return link(text, "circuit", circuit=value)
    return cell(text, raw=value, **({"sort": value} if isinstance(value, int | float) else {}))


def _feature(columns: Sequence[str], line: Sequence[Any]) -> str:
    """`DICTIONARY/LATENT` of a row that has both columns, else empty."""
    named: Mapping[str, Any] = dict(zip(columns, line, strict=True))
    dictionary, latent = named.get("dictionary"), named.get("latent")
    return f"{dictionary}/{latent}" if dictionary and isinstance(latent, int) else ""


def _whole(query: str, rows: int) -> Bounded:
    limits = Limits(seconds=20.0, rows=rows, bytes=LARGEST, cell=100_000)
    return sql_process.ask(source.workspace(), query, limits)


def _csv(query: str) -> str:
    """The whole answer; what went wrong stands in the file, since nobody else would hear of it."""
    try:
        found = _whole(query, MOST)
    except Mistake as mistake:
        return f"error\n{mistake}\n"
    cut = f"# cut after {len(found.rows):,} rows\n" if found.more else ""
    return sql.as_csv(found) + cut


def _files(query: str) -> None:
    st.download_button("CSV of all", lambda: _csv(query), "answer.csv", "text/csv", key="sql_csv", on_click="ignore",
                       help=f"At most {MOST:,} rows or {LARGEST // 1_000_000} MB.")  # fmt: skip


def _save(query: str) -> None:
    with st.popover("Save the question"):
        st.text_input("Name", key="sql_name", max_chars=views.LONGEST, on_change=_saved, args=(query,))


def _saved(query: str) -> None:
    name = str(st.session_state["sql_name"]).strip()
    try:
        if name:
            _write(query, views.save(source.workspace(), "sql", {"query": query}, name))
            st.session_state["sql_name"] = ""
    except Mistake as mistake:
        st.session_state[judging.COMPLAINT] = str(mistake)


def _list(query: str, answer: Bounded) -> None:
    """Makes a list of the features or circuits of the answer."""
    names = set(answer.columns)
    if answer.rows and ({"dictionary", "latent"} <= names or "circuit" in names):
        keeping.offer("sql", lambda: _items(query), "from SQL")


def _items(query: str) -> list[str]:
    found = _whole(query, judgement.MOST - 1)
    return [item for line in found.rows if (item := _item(found.columns, line))]


def _item(columns: Sequence[str], line: Sequence[Any]) -> str:
    if feature := _feature(columns, line):
        return f"feature {feature}"
    circuit = dict(zip(columns, line, strict=True)).get("circuit") if "latent" not in columns else None
    return f"circuit {circuit}" if circuit else ""


def _examples() -> None:
    saved = source.ask(of_exports.saved)
    if saved:
        bits.section("Saved questions", f"{len(saved)}")
        with st.container(key="lw_saved", gap=None):
            for view in saved[:30]:
                bits.link("sql", f"{view['name']} ({view['author']})", {"view": view["view"]})
    bits.section("Worth asking")
    with st.container(key="lw_worth", gap=None):
        for title, query in EXAMPLES.items():
            bits.link("sql", title, {"query": query})


def _schema() -> None:
    found = source.ask(of_exports.tables)
    bits.section("Tables", f"{len(found)} tables and views")
    lines = []
    for one in found:
        rows = "".join(
            f"<div><code>{bits.escape(c.name)}</code> <i>{bits.escape(c.type)}</i> {bits.escape(c.comment)}</div>"
            for c in one.columns
        )
        said = f"<p>{bits.escape(one.comment)}</p>" if one.comment else ""
        kind = " <i>view</i>" if one.kind == "view" else ""
        lines.append(f"<details><summary><code>{bits.escape(one.name)}</code>{kind}</summary>{said}{rows}</details>")
    st.html(f'<div class="lw-schema">{"".join(lines)}</div>')
