"""Search: one box, four ways to find a feature. The address holds the way (`mode`), what was typed (`q`) and all choices.

1. By text: what is said of features contains it. By meaning: sentence vectors, made on this machine.
2. By prompt: the features that fire on a text, for all of it or at some of its tokens.
3. By example: the likes of one feature: firing with it, writing the same, described alike.
4. What needs the engine is drawn when it answers; the rest of the page does not wait (`search/`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from dashboard import showcase, source, steps
from dashboard.search import by_example, by_meaning, by_prompt, by_text
from dashboard.widgets import bits, box, switch
from data.errors import unknown
from data.queries import of_search
from data.store import Workspace

TITLE = "Search"
ICON = ":material/search:"
GROUP = "Features"
ORDER = 12
MODES = {"text": "by text", "meaning": "by meaning", "prompt": "by prompt", "example": "by example"}
HINTS = {
    "text": "words in explanations and labels, such as: plural",
    "meaning": "what the feature should be about, such as: names of rivers",
    "prompt": "a text; the features that fire on it are shown",
    "example": "a feature as DICTIONARY/LATENT; its likes are shown",
}
NOTES = {
    "text": "Explanations and people's labels that contain what is typed; whole words first, then by score above control.",
    "meaning": "Explanations and labels whose sentence vector is nearest to that of what is typed.",
    "prompt": "The model reads the text, prefix in front, and its dictionaries encode it as in a harvest.",
    "example": "Features that fire at the same tokens, write the same, or are described alike.",
}
SHOW: dict[str, Callable[[str, tuple[str, ...]], None]] = {
    "text": by_text.show, "meaning": by_meaning.show, "prompt": by_prompt.show, "example": by_example.show,
}  # fmt: skip


def examples(workspace: Workspace) -> showcase.Queries:  # noqa: ARG001 -- the same in every workspace
    """Which features fire on a text."""
    return {"search": {"mode": "prompt", "q": "The keys to the old cabinet are on the table."}}


def render() -> None:
    """Draws the page."""
    bits.heading(
        "Search", detail="find a feature by what is said of it, what it means, where it fires, what is like it"
    )
    known = source.ask(of_search.dictionaries)
    if not known:
        bits.gap(
            "There are no dictionaries yet, so there is no feature to find.", steps.command(source.workspace(), "demo")
        )
        return
    left, right = st.columns([1, 1.4], vertical_alignment="bottom", gap="medium")
    with left:
        mode = switch.switch("mode", list(MODES), said=MODES.__getitem__)
    with right:
        chosen = _dictionaries(known)
    text = box.box("q", "search", MODES[mode], lines=2 if mode == "prompt" else 1, hint=HINTS[mode], hidden=True).strip(
        "\n" if mode == "prompt" else None
    )
    st.html(f'<div class="lw-legend">{bits.escape(NOTES[mode])}</div>')
    if text:
        SHOW[mode](text, chosen)


def _dictionaries(known: Sequence[of_search.Row]) -> tuple[str, ...]:
    """The dictionaries that the address names (`at`); none is all of them."""
    several = len({row["model"] for row in known}) > 1
    names = {
        row["dictionary"]: f"{row['site']} · {row['dictionary'][:6]}" + (f" · {row['model_name']}" if several else "")
        for row in known
    }
    asked = tuple(part for part in st.query_params.get("at", "").split(",") if part)
    for part in asked:
        if part not in names:
            raise unknown("dictionary", part, names)
    key = f"at_{'_'.join(part[:6] for part in asked)}"

    def write() -> None:
        st.query_params.pop("page", None)
        st.query_params.pop("at", None)
        if st.session_state[key]:
            st.query_params["at"] = ",".join(st.session_state[key])

    st.multiselect(
        "In dictionaries", list(names), list(asked), format_func=names.__getitem__, key=key, on_change=write,
        placeholder="in all dictionaries", label_visibility="collapsed",
    )  # fmt: skip
    return asked
