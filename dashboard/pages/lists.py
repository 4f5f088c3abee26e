"""Lists: named sets of features and circuits, shared by everyone who works in this workspace.

1. The address names the list shown (`list=ID`). Whoever changes one says who they are; the newest change can be undone.
2. A list comes in and goes out as CSV (kind, id) or JSON; what is not in this workspace is counted and left out.
3. A triage of the list is one click away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import judging, listing, rater, showcase, source, steps
from dashboard.export import listing as export
from dashboard.widgets import bits
from dashboard.widgets.table import Column, Options, cell, effect, link, row, table
from dashboard.widgets.tokens import readable
from data import judgement, queries
from data.errors import Mistake
from data.queries import of_judgement
from data.store import Workspace

TITLE = "Lists"
ICON = ":material/checklist:"
GROUP = "Judge"
ORDER = 42
SHOWN = 500
"""Members that the table shows; the files hold all."""

Row = Mapping[str, Any]


def examples(workspace: Workspace) -> showcase.Queries:
    """The longest list of features."""
    found = max(of_judgement.lists(workspace), key=lambda one: one["features"], default=None)
    return {"lists": {"list": found["list"]} if found else {}}


def render() -> None:
    """Draws the page."""
    found = source.ask(of_judgement.lists)
    wanted = st.query_params.get("list")
    shown = source.ask(of_judgement.list_of, wanted) if wanted else None
    bits.heading("Lists", detail="named sets of features and circuits")
    who = rater.ask("lists_rater")
    judging.complaint()
    left, right = st.columns([1, 2.4], gap="large")
    with left:
        _lists(found, wanted)
        _make(who)
        _undo(who)
    with right:
        if shown:
            _one(shown, who)
        elif found:
            bits.gap("Choose a list at the left.")


def _lists(found: Sequence[Row], wanted: str | None) -> None:
    bits.section("All lists", f"{len(found)}")
    if not found:
        bits.gap("There is no list yet. Make one below, or add a feature or a circuit to one on its own page.")
        counts = source.ask(queries.counts)
        if not (counts.features or counts.circuits):
            bits.gap("And nothing to put into one:", steps.command(source.workspace(), "demo"))
        return
    columns = [Column("List"), Column("Features", "num"), Column("Circuits", "num"), Column("Changed", "line")]
    rows = [
        row([cell(f["name"], title=f["list"]), f["features"], f["circuits"], cell(f"{f['written']:%Y-%m-%d}",
            title=f"by {f['rater']}")], f["list"])
        for f in found
    ]  # fmt: skip
    table("lists_all", columns, rows=rows, options=Options("Lists", height=420, selected=wanted), pick=_pick)


def _pick(name: str) -> None:
    st.query_params["list"] = name


def _try(act: Callable[[], object]) -> None:
    """Does `act`; a mistake is shown at the next drawing."""
    try:
        act()
    except Mistake as mistake:
        st.session_state[judging.COMPLAINT] = str(mistake)


def _make(who: str) -> None:
    with st.form("lists_new", border=False, clear_on_submit=True):
        title = st.text_input(
            "New list", max_chars=judgement.LONGEST["list"], key="lists_title", placeholder="its name"
        )
        given = st.file_uploader("from a file (optional)", type=["csv", "json"], key="lists_file", max_upload_size=8)
        if st.form_submit_button("Make it", disabled=not who):
            _try(lambda: _pick(_made(who, title or "", given)))
            st.rerun()


def _made(who: str, title: str, given: Any) -> str:
    """The id of a new list, of a file's members if there is one."""
    read = listing.read(given.name, given.getvalue()) if given else None
    kept, missing = listing.known(source.workspace(), read.items) if read else ([], 0)
    if read and not kept:
        raise Mistake(f"None of the {len(read.items):,} features and circuits of {given.name!r} are in this workspace.")
    made = judgement.create_list(source.workspace(), who, title or (read.name if read else ""), kept)
    if missing:
        st.session_state["lists_said"] = f"{missing:,} members of {given.name} are not in this workspace; left out."
    return made


def _undo(who: str) -> None:
    standing = source.ask(of_judgement.last, who) if who else None
    of_lists = standing is not None and standing["kind"] in judgement.SHARED
    if of_lists and standing:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Undo", key="lists_undo", on_click=_take_back, args=(who,))
            st.html(f'<span class="lw-note">{bits.escape(judging.told(standing))}</span>')


def _take_back(who: str) -> None:
    def act() -> None:
        undone = judgement.undo(source.workspace(), who)
        known = {f["list"] for f in of_judgement.lists(source.workspace())}
        if undone and undone.subject in known:
            _pick(undone.subject)
        elif st.query_params.get("list") not in known:
            st.query_params.pop("list", None)

    _try(act)


def _one(shown: Row, who: str) -> None:
    bits.section(shown["name"], f"{shown['features']:,} features, {shown['circuits']:,} circuits")
    if said := st.session_state.pop("lists_said", None):
        bits.gap(said)
    items = source.ask(of_judgement.members, shown["list"])
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if shown["features"]:
            bits.link("triage", "Judge them one by one", {"list": shown["list"]}, icon=":material/rate_review:")
        _files(shown, items)
        _change(shown, who)
    _features(tuple(i.removeprefix("feature ") for i in items if i.startswith("feature ")))
    _circuits(tuple(i.removeprefix("circuit ") for i in items if i.startswith("circuit ")))
    _take_out(shown, items, who)


def _files(shown: Row, items: Sequence[str]) -> None:
    name = listing.file_name(shown["name"])
    st.download_button("CSV", listing.as_csv(items), f"{name}.csv", "text/csv", key="lists_csv", on_click="ignore")
    text = listing.as_json(shown["name"], items)
    st.download_button("JSON", text, f"{name}.json", "application/json", key="lists_json", on_click="ignore")
    workspace, identity = source.workspace(), shown["list"]
    st.download_button("HTML, offline", lambda: export.html(workspace, identity), f"{name}.html", "text/html",
                       key="lists_html", on_click="ignore", help="Every feature with its examples.")  # fmt: skip


def _change(shown: Row, who: str) -> None:
    key = f"lists_rename_{shown['list']}"
    with st.popover("Rename or delete", disabled=not who):
        st.text_input("Name", shown["name"], key=key, max_chars=judgement.LONGEST["list"], on_change=_rename,
                      args=(shown["list"], who, key))  # fmt: skip
        st.button("Delete this list", key="lists_delete", on_click=_delete, args=(shown["list"], who))
        st.caption("Undo brings a deleted list back, with its members.")


def _rename(name: str, who: str, key: str) -> None:
    title = st.session_state[key]
    _try(lambda: judgement.say(source.workspace(), who, judgement.listed(name, title)))


def _delete(name: str, who: str) -> None:
    _try(lambda: judgement.say(source.workspace(), who, judgement.listed(name, None)))
    st.query_params.pop("list", None)


def _features(features: tuple[str, ...]) -> None:
    if not features:
        return
    known = source.ask(of_judgement.described, features[:SHOWN])
    columns = [Column("Feature", "mono line"), Column("Site", "line"), Column("Density", "num"), Column("Label"),
               Column("Explanation"), Column("Above control", "num", "of its best explanation")]  # fmt: skip
    rows = [_feature(name, known.get(name)) for name in features[:SHOWN]]
    note = f"the first {SHOWN:,} of {len(features):,}; the files hold all" if len(features) > SHOWN else ""
    table("lists_features", columns, rows=rows, options=Options("Features of the list", height=520, note=note))


def _feature(name: str, known: Row | None) -> dict[str, Any]:
    short = f"{name.split('/')[0][:6]}/{name.split('/')[-1]}"
    if known is None:
        gone = cell("nothing is recorded of it here", tone="quiet")
        return row([cell(short, title=name), gone, "", "", "", ""], name)
    label = cell(readable(known["label"], 200), title=f"by {known['labeller']}") if known["label"] else cell("")
    said = cell(readable(known["text"], 200)) if known["text"] else cell("not explained", tone="quiet")
    gained = effect(known["difference"], digits=2) if known["difference"] is not None else cell("", sort=-9)
    return row(
        [link(short, "feature", feature=name), known["site"], bits.percent(known["density"], 2), label, said, gained]
    )


def _circuits(circuits: tuple[str, ...]) -> None:
    if not circuits:
        return
    known = {c["circuit"]: c for c in source.ask(listing.circuits)}
    columns = [Column("Circuit", "mono line"), Column("Task", "line"), Column("Model", "line"), Column("Nodes", "num"),
               Column("Edges", "num")]  # fmt: skip
    rows = [
        row([link(name, "circuit", circuit=name), *(known[name][c] for c in ("task", "model_name", "nodes", "edges"))])
        if name in known
        else row([name, cell("not in this workspace any more", tone="quiet"), "", "", ""])
        for name in circuits
    ]
    table("lists_circuits", columns, rows=rows, options=Options("Circuits of the list", height=260))


def _take_out(shown: Row, items: Sequence[str], who: str) -> None:
    if not items:
        bits.gap("The list is empty. Add features and circuits to it on their own pages, or from the Features page.")
        return
    key = f"lists_out_{shown['list']}_{len(items)}"
    with st.popover("Take members out", disabled=not who):
        st.multiselect("Members", items[:SHOWN], key=key)
        st.button("Take them out", key="lists_take", on_click=_out, args=(shown["list"], who, key))


def _out(name: str, who: str, key: str) -> None:
    gone = [judgement.member(name, item, inside=False) for item in st.session_state[key]]
    if gone:
        _try(lambda: judgement.say(source.workspace(), who, *gone))
