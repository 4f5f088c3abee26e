"""Two prompts: which features fire on one and not on the other, over whole texts and token by token.

1. The texts are in the address as `a` and `b`; longer ones are a saved view. The engine reads them when asked to.
2. A feature's activation on a text is its strongest one there, told as a share of the largest that was recorded of it, so
   that features can be ranked beside each other. Dense features are hidden unless asked for: they fire on any text.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import asking, source, steps
from dashboard.compare import _firing
from dashboard.compare._firing import Fired
from dashboard.widgets import bits, tokens, turning
from dashboard.widgets.pair import distinct
from dashboard.widgets.table import Column, Options, cell, effect, link, row, table
from data import views
from data.errors import Mistake, unknown
from data.queries import DENSE, of_comparison, of_search
from data.words import Feature

NAME = "prompts"
ORDER = 3
LONGEST = 300
"""Characters of a text that still fit an address."""
PAGE = "compare"
MOST = 12
"""Dictionaries that are read when none is chosen."""

Row = Mapping[str, Any]


def render() -> None:
    """Draws the form, and what the address asks for."""
    dictionaries = source.ask(of_search.dictionaries)
    if not dictionaries:
        bits.gap("There is no dictionary to read texts with.", steps.command(source.workspace(), "train"))
        return
    left, right = _texts()
    model, chosen = _form(dictionaries, left, right)
    if not (left and right):
        bits.gap(
            "Write a text into both fields, and compare: the engine loads the model, which takes some seconds once."
        )
        return
    if left == right:
        bits.gap("Both texts are the same; change one of them.")
        return
    answers = _answer(left, model, chosen), _answer(right, model, chosen)
    known = {name: source.ask(of_comparison.told, name, _latents(answers, name)) for name in chosen}
    _shown(answers, _firing.compared(*answers, known))


def _texts() -> tuple[str, str]:
    asked = st.query_params.get("view")
    if asked:
        state = views.load(source.workspace(), asked).state
        return str(state.get("a", "")), str(state.get("b", ""))
    return st.query_params.get("a", ""), st.query_params.get("b", "")


def _form(dictionaries: Sequence[Row], left: str, right: str) -> tuple[str, tuple[str, ...]]:
    """Fields for the texts and for what reads them; returns the model and the dictionaries that the address says."""
    names = distinct({d["dictionary"]: f"{d['site']} · {d['dictionary'][:6]}" for d in dictionaries})
    models = {d["dictionary"]: d["model"] for d in dictionaries}
    usual = _usual(dictionaries)
    asked = [one for one in st.query_params.get("with", "").split(",") if one] or usual
    for one in asked:
        if one not in names:
            raise unknown("dictionary", one, names)
    with st.form("compare_prompts", border=False):
        one, other = st.columns(2)
        a = one.text_area("Left text", left, key=f"prompt_a_{hash(left)}", height=90, max_chars=4000)
        b = other.text_area("Right text", right, key=f"prompt_b_{hash(right)}", height=90, max_chars=4000)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            picked = st.multiselect(
                "Dictionaries", list(names), asked, format_func=lambda n: names[n], key="prompt_with"
            )
            if st.form_submit_button("Compare", type="primary"):
                _write(a, b, [p for p in picked if p in names], usual)
                st.rerun()
    if len({models[one] for one in asked}) > 1:
        raise Mistake(
            "The dictionaries chosen are of several models; a text is read by one. Choose those of one model."
        )
    return models[asked[0]], tuple(asked)


def _usual(dictionaries: Sequence[Row]) -> list[str]:
    """The dictionaries of one model whose features are recorded; all of the first model where none is."""
    known = [d for d in dictionaries if d["features"]] or dictionaries
    return [d["dictionary"] for d in known if d["model"] == known[0]["model"]][:MOST]


def _write(a: str, b: str, picked: Sequence[str], usual: Sequence[str]) -> None:
    """The texts to the address, or to a saved view when they are long."""
    wanted = {"kind": "prompts"}
    if max(len(a), len(b)) > LONGEST:
        wanted["view"] = views.save(source.workspace(), PAGE, {"a": a, "b": b})
    else:
        wanted |= {"a": a, "b": b}
    if picked and set(picked) != set(usual):
        wanted["with"] = ",".join(picked)
    st.query_params.from_dict(wanted)


def _answer(text: str, model: str, chosen: tuple[str, ...]) -> Row:
    return asking.answer("features", model=model, text=text, dictionaries=list(chosen))


def _latents(answers: Sequence[Row], name: str) -> tuple[int, ...]:
    fired = (one["latent"] for answer in answers for one in answer["dictionaries"] if one["dictionary"] == name)
    return tuple(sorted(set(itertools.chain.from_iterable(fired))))


def _shown(answers: Sequence[Row], found: Sequence[Fired]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        where = turning.choice("Fires on", "fires", ["any", "left only", "right only", "both"], width=150)
        about = f"dense: active at more than {100 * DENSE:.0f} % of tokens in the harvest"
        dense = turning.choice("Dense features", "dense", ["hidden", "shown"], width=150, about=about)
    counts = {word: sum(f.where == word for f in found) for word in ("left only", "right only", "both")}
    hidden = sum(_is_dense(f) for f in found) if dense == "hidden" else 0
    bits.figures(
        [
            *((word.capitalize(), bits.number(n), "features") for word, n in counts.items()),
            ("Dense", bits.number(sum(_is_dense(f) for f in found)), "hidden" if hidden else "shown"),
            ("Weakest left out", bits.number(sum(d["omitted"] for a in answers for d in a["dictionaries"])),
             "firings beyond the strongest of a token"),
        ]
    )  # fmt: skip
    kept = [f for f in found if (where == "any" or f.where == where) and not (dense == "hidden" and _is_dense(f))]
    selected = _selected(found)
    _windows(answers, selected)
    _list(kept, answers, selected)


def _is_dense(f: Fired) -> bool:
    return (f.record.get("density") or 0.0) > DENSE


def _selected(found: Sequence[Fired]) -> Fired | None:
    asked = st.query_params.get("feature")
    if not asked:
        return None
    wanted = Feature.parse(asked)
    chosen = next((f for f in found if (f.dictionary, f.latent) == (wanted.dictionary, wanted.latent)), None)
    if chosen is None:
        raise Mistake(f"Feature {asked} fires on neither text, or its dictionary is not among those chosen.")
    return chosen


def _windows(answers: Sequence[Row], chosen: Fired | None) -> None:
    said = f"feature {chosen.latent} of {chosen.site}" if chosen else "choose a feature below to see where it fires"
    bits.section("The texts", said)
    for side, (name, answer) in enumerate(zip(("left", "right"), answers, strict=True)):
        spelled = answer["tokens"]
        values = [chosen.values[side].get(place, 0.0) if chosen else 0.0 for place in range(len(spelled))]
        peak = bits.number(max(values), 2) if chosen and max(values, default=0.0) > 0 else "silent" if chosen else ""
        text = tokens.window(spelled, values, chosen.scale if chosen else 1.0)
        cut = " (only its beginning is read)" if answer.get("cut") else ""
        lead = f"<span>{name}{cut}<br>{peak}</span>"
        st.html(f'<div class="lw-example">{lead}<span class="lw-text">{text}</span></div>')


def _list(kept: Sequence[Fired], answers: Sequence[Row], selected: Fired | None) -> None:
    bits.section(
        "Features", "the largest difference first; activations as shares of the feature's largest recorded one"
    )
    if not kept:
        bits.gap("No feature fits these choices.")
        return
    page = turning.asked()
    shown = kept[(page - 1) * turning.SIZE : page * turning.SIZE]
    columns = [
        Column("Feature", "mono line"),
        Column("Site", "line"),
        Column("Fires on", "line"),
        Column("Left", "num", "strongest activation, as a share of the largest recorded"),
        Column("At", "mono line"),
        Column("Right", "num"),
        Column("At", "mono line"),
        Column("Difference", "num", "left minus right"),
        Column("Density", "num"),
        Column("Explanation"),
    ]
    chosen = str(Feature(selected.dictionary, selected.latent)) if selected else None
    note = turning.span(len(kept), page, len(shown))
    options = Options("Features of both texts", sort=False, csv="prompts.csv", note=note, selected=chosen)
    table("compare_fired", columns, rows=[_row(f, answers) for f in shown], options=options, pick=_pick)
    turning.turn(len(kept), page)


def _pick(name: str) -> None:
    st.query_params["feature"] = name


def _row(f: Fired, answers: Sequence[Row]) -> dict[str, Any]:
    name, text = str(Feature(f.dictionary, f.latent)), f.record.get("text")
    sides = []
    for strongest, at, answer in zip(f.strongest, f.at, answers, strict=True):
        shown = (
            cell("silent", tone="quiet", sort=0, raw=0) if at is None else cell(bits.percent(strongest / f.scale, 0))
        )
        sides += [shown, cell("" if at is None else tokens.named(answer["tokens"][at]))]
    return row(
        [
            link(f"{f.dictionary[:6]}/{f.latent}", "feature", feature=name),
            f.site,
            f.where,
            *sides,
            effect(f.difference, 1.0, digits=2),
            bits.percent(f.record.get("density"), 2),
            cell(tokens.readable(text, 90), title=tokens.readable(text, 600))
            if text
            else cell("not explained", tone="quiet"),
        ],
        name,
    )
