"""By prompt: the features that fire on a text, for all of it or at the tokens chosen.

1. The engine reads the text once; choosing tokens, the order and dense features are settled here, without it.
2. The tokens are coloured by the feature whose row is picked, the first one if none is, on that feature's own scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import asking, searching, source, steps
from dashboard.search import found
from dashboard.searching import ORDERS, Fired
from dashboard.widgets import bits, switch, tokens
from dashboard.widgets.strip import strip
from dashboard.widgets.table import Column, Options, cell, link, row, table
from data.errors import Mistake
from data.queries import of_search

SHOWN = 60
MOST = 12
"""Dictionaries that are read when none is chosen."""


def show(text: str, dictionaries: tuple[str, ...]) -> None:
    """Draws the features when the engine has answered."""
    model, read = _choose(dictionaries)
    if not read:
        bits.gap("No feature of any dictionary has been recorded.", steps.command(source.workspace(), "harvest"))
        return
    st.fragment(_features, parallel=True)(text, model, read)


def _choose(dictionaries: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The model, and the dictionaries of it that are read: those chosen, or those whose features are recorded.

    Raises `Mistake` when dictionaries of several models are chosen.
    """
    known = source.ask(of_search.dictionaries)
    chosen = [d for d in known if d["dictionary"] in dictionaries]
    if len({d["model"] for d in chosen}) > 1:
        raise Mistake(
            "The dictionaries chosen are of several models; a text is read by one. Choose those of one model."
        )
    recorded = [d for d in known if d["features"]] or known
    model = chosen[0]["model"] if chosen else recorded[0]["model"]
    read = chosen or [d for d in recorded if d["model"] == model][:MOST]
    return model, tuple(d["dictionary"] for d in read)


def _features(text: str, model: str, read: tuple[str, ...]) -> None:
    try:
        answer = asking.answer("features", model=model, text=text, dictionaries=list(read))
        _draw(answer, searching.fired(answer))
    except Mistake as mistake:
        bits.gap(str(mistake))


def _draw(answer: Mapping[str, Any], every: Sequence[Fired]) -> None:
    places = _places(len(answer["tokens"]))
    spot = st.container()
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        order = switch.switch("by", ORDERS)
        st.toggle(
            "dense features too", key="dense", bind="query-params", help="features active at more than 10 % of tokens"
        )
    dense = bool(st.session_state["dense"])
    some = searching.ordered(every, order, places, dense=dense)
    picked = next((one for one in some if str(one.feature) == st.query_params.get("picked")), some[0] if some else None)
    with spot:
        _strip(answer["tokens"], every, places, picked)
    _said(answer, every, some, places=places, dense=dense)
    if picked is None:
        bits.gap(
            "No feature fires there." if dense else "Only dense features fire there, or none; the switch shows them."
        )
        return
    _table(answer["tokens"], some[:SHOWN], places, str(picked.feature))


def _places(count: int) -> list[int]:
    """The tokens that the address chooses (`token=3.5`)."""
    text = st.query_params.get("token", "")
    parts = [part for part in text.split(".") if part]
    if not all(part.isdecimal() and int(part) < count for part in parts):
        raise Mistake(
            f"token = {text!r} in the address names no tokens of this text; it has {count}, from 0 to {count - 1}."
        )
    return sorted({int(part) for part in parts})


def _strip(texts: Sequence[str], every: Sequence[Fired], places: Sequence[int], picked: Fired | None) -> None:
    """The tokens, on the colour scale of the feature that is picked."""
    name = f"{picked.feature.dictionary[:6]}/{picked.feature.latent}" if picked else ""
    top = max(picked.record, picked.at([])) if picked else 1.0
    values = [picked.values.get(place, 0.0) if picked else 0.0 for place in range(len(texts))]
    counts = [sum(place in one.values and not one.dense for one in every) for place in range(len(texts))]
    said = [f"{name}: {bits.number(v, 2)}; {n} features fire here" for v, n in zip(values, counts, strict=True)]
    strip("prompt_tokens", texts, places, weights=[v / top for v in values], said=said, choose=_choose_tokens)
    legend = f"Coloured: {name}, the row marked below, on its own scale. " if picked else ""
    note = "Click a token for the features that fire there (Ctrl-click for several); click a row to colour by it."
    st.html(f'<div class="lw-legend">{bits.escape(legend + note)}</div>')


def _choose_tokens(text: str) -> None:
    if text:
        st.query_params["token"] = text
    else:
        st.query_params.pop("token", None)


def _said(
    answer: Mapping[str, Any], every: Sequence[Fired], some: Sequence[Fired], *, places: Sequence[int], dense: bool
) -> None:
    hidden = sum(one.dense and one.at(places) > 0 for one in every)
    notes = [
        "at " + ", ".join(tokens.named(answer["tokens"][place]) for place in places[:8]) if places else "at all tokens"
    ]
    if hidden and not dense:
        notes.append(f"{hidden} dense ones hidden")
    if answer["cut"]:
        notes.append(f"the last {answer['cut']} tokens of the text were not read")
    if answer["precision"] != "fp32":
        notes.append(f"computed in {answer['precision']}")
    omitted = sum(one["omitted"] for one in answer["dictionaries"])
    if omitted:
        notes.append(f"{omitted} weak activations left out")
    bits.section(f"{len(some):,} features fire", "; ".join(notes))


def _table(texts: Sequence[str], some: Sequence[Fired], places: Sequence[int], picked: str) -> None:
    rows = source.ask(of_search.described, tuple((one.feature.dictionary, one.feature.latent) for one in some))
    columns = [
        Column("Feature", "mono line"), Column("Site", "line"),
        Column("Activation", "num", "the greatest at the tokens chosen"),
        Column("Of its record", "num", "share of the greatest activation of the harvest"),
        Column("At", "mono line", "the token at which it is strongest"),
        Column("Tokens", "num", "how many of the text's tokens it fires at"),
        Column("Sum", "num", "of its activations at the tokens chosen"),
        Column("Density", "num", "share of the harvest's tokens"), Column("Explanation"),
        Column("Score", "num line", "the best score of what is said, beside its control"),
    ]  # fmt: skip
    lines = [_row(texts, one, places, rows.get((one.feature.dictionary, one.feature.latent))) for one in some]
    options = Options("Features of the prompt", height=560, csv="features-of-prompt.csv", selected=picked)
    table("prompt_features", columns, rows=lines, options=options, pick=_pick)


def _pick(feature: str) -> None:
    st.query_params["picked"] = feature


def _row(texts: Sequence[str], one: Fired, places: Sequence[int], known: searching.Row | None) -> dict[str, Any]:
    strongest = one.at(places)
    where = max(places or one.values, key=lambda place: one.values.get(place, 0.0))
    share = one.share(strongest)
    said = known["text"] if known and known["text"] else ""
    name, tone, title = found.score(known) if known and known["score"] is not None else ("", "", "")
    return row(
        [
            link(f"{one.feature.dictionary[:6]}/{one.feature.latent}", "feature", feature=str(one.feature)), one.site,
            cell(bits.number(strongest, 2), sort=strongest, raw=strongest),
            cell(bits.percent(share, 0), sort=share, raw=share, bar=share) if one.record else cell("—", sort=-1.0),
            tokens.named(texts[where]), len(one.values),
            cell(bits.number(one.total(places), 1), sort=one.total(places), raw=one.total(places)),
            cell(bits.percent(one.density, 2), sort=one.density or 0.0, raw=one.density),
            _explanation(said),
            cell(name or "—", tone=tone, title=title),
        ],
        str(one.feature),
    )  # fmt: skip


def _explanation(said: str) -> dict[str, Any]:
    if not said:
        return cell("not explained", tone="quiet")
    return cell(tokens.readable(said, 120), title=tokens.readable(said, 600))
