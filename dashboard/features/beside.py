"""The feature beside the list: its evidence first, then what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import evidence, look, source, steps
from dashboard.evidence import Around, Asked, Example, Group
from dashboard.features.rows import density
from dashboard.widgets import bits, tokens
from data import queries
from data.errors import Mistake
from data.queries import of_features
from data.queries.of_features import Facets
from data.store import Workspace
from data.words import Feature

CONTEXT = 20
STRONGEST = 6
TOKENS = 6
CIRCUITS = 4


def render(wanted: str | None, facets: Facets, *, listed: bool) -> None:
    """Draws the feature that is selected; what is said is chosen by the same explainers and scorers as in the list."""
    if wanted is None:
        return
    with st.container(key="lw_beside", gap="small"):
        try:
            feature = Feature.parse(wanted)
            record = source.ask(queries.feature, feature)
            shown = of_features.glance(source.workspace(), facets, feature)
        except Mistake as mistake:
            bits.gap(f"{mistake} Pick a row of the list.")
            return
        _head(feature, record, listed)
        _examples(feature, record)
        _said(feature, shown)
        _logits(record["statistics"])
        _circuits(shown)


def _head(feature: Feature, record: Mapping[str, Any], listed: bool) -> None:
    state = density(record["density"])
    note = "" if listed else "not on this page of the list"
    bits.section(
        f"Feature {feature.latent}", " · ".join(part for part in (record["site"], record["name"], note) if part)
    )
    statistics = record["statistics"]
    documents = f"in {statistics.get('documents', 0):,} documents"
    bits.figures(
        [
            ("Active at", state["text"], "of tokens" if record["density"] else "never active"),
            ("Firings", bits.number(statistics.get("firings")), documents),
            ("Max activation", bits.number(record["max_activation"], 2), ""),
        ]
    )
    bits.link("feature", "Open its page", look.query(feature))


# Evidence ------------------------------------------------------------------------------------------------------------


def strongest(workspace: Workspace, feature: Feature, harvest: str | None) -> list[Group]:
    """Its examples by strength."""
    return evidence.active(Around(workspace, feature, harvest), Asked(harvest, CONTEXT))


def _examples(feature: Feature, record: Mapping[str, Any]) -> None:
    bits.section("Examples", "the strongest, then one of each quarter; one log scale of colour")
    if not record["density"]:
        bits.gap("This feature is dead: it never fired in the harvest, so there is nothing to show.")
        return
    try:
        groups = source.ask(strongest, feature, record["statistics"].get("harvest"))
    except evidence.UNREADABLE as error:
        bits.gap(f"The activations cannot be read: {error}", steps.command(source.workspace(), "harvest"))
        return
    best, *quarters = groups
    chosen = [
        *best.examples[:STRONGEST],
        *(e for g in quarters if g.high and g.name != "by lot" for e in g.examples[:1]),
    ]
    st.html("".join(_example(example, record["max_activation"]) for example in chosen))


def _example(example: Example, top: float) -> str:
    text = tokens.window(example.tokens, example.values, top)
    return (
        f'<div class="lw-example"><span>{bits.number(example.value, 2)}</span><span class="lw-text">{text}</span></div>'
    )


# What is said --------------------------------------------------------------------------------------------------------


def _said(feature: Feature, shown: Mapping[str, Any]) -> None:
    bits.section("Label and explanation")
    if look.hidden():
        bits.gap("Kept back until you have looked (hide=1 in the address).")
        return
    if shown["label"]:
        text, author = tokens.readable(shown["label"], 400), tokens.readable(shown["author"], 60)
        st.html(_card(text, f"label by {author}"))
    if shown["text"]:
        st.html(_card(tokens.readable(shown["text"], 600), f"by {shown['explainer']}", _worth(shown)))
    elif not shown["label"]:
        bits.gap(
            "This feature has not been explained yet.",
            steps.command(source.workspace(), f"explain --features {feature}"),
        )


def _card(text: str, made: str, worth: str = "") -> str:
    return f'<div class="lw-explanation"><p>{bits.escape(text)}</p><small>{bits.escape(made)}</small>{worth}</div>'


def _worth(shown: Mapping[str, Any]) -> str:
    """Its best score, beside the control."""
    if shown["score"] is None:
        return '<span class="lw-badge">not scored</span>'
    said = f"{shown['scorer']} {bits.number(shown['score'], 2)}"
    if shown["control"] is None:
        return f'<span class="lw-badge lw-grey">{bits.escape(said)}, no control: cannot be told from chance</span>'
    gained = bits.interval(shown, "difference")
    found = f"{said}, control {bits.number(shown['control'], 2)}, difference {gained}"
    contested = '<span class="lw-badge">contested by another scorer</span>' if shown["contested"] else ""
    return f'<span class="lw-badge">{bits.escape(found)}</span>{contested}'


def _logits(statistics: Mapping[str, Any]) -> None:
    bits.section("Tokens", "promoted and suppressed through the unembedding; below: followed more often than chance")
    up, down = (statistics.get(f"{end}_logits") or [] for end in ("top", "bottom"))
    if up or down:
        top = max((abs(value) for _, value in [*up, *down]), default=1.0) or 1.0
        st.html(f'<div class="lw-logits">{_column(up, top, "lw-up")}{_column(down, top, "lw-down")}</div>')
    else:
        bits.gap("No logits are recorded for this feature.")
    lift = [(tokens.named(t), f"×{bits.number(by, 1)}") for t, by, _ in (statistics.get("lift") or [])[:TOKENS]]
    if lift:
        st.html(bits.chips(lift))


def _column(pairs: Sequence[Sequence[Any]], top: float, kind: str) -> str:
    return f'<div class="{kind}">' + "".join(_logit(token, value, top) for token, value in pairs[:TOKENS]) + "</div>"


def _logit(token: str, value: float, top: float) -> str:
    width = f"{100 * abs(value) / top:.0f}%"
    text, said = bits.escape(tokens.named(token)), bits.signed(value, 2)
    return f'<div class="lw-logit"><i style="width:{width}"></i><code>{text}</code><span>{said}</span></div>'


def _circuits(shown: Mapping[str, Any]) -> None:
    found = shown["in_circuits"]
    if not found:
        return
    bits.section("Circuits", f"largest |effect| {bits.number(shown['effect'], 3)}")
    titles = source.ask(of_features.titles)["circuit"]
    with st.container(horizontal=True, gap="medium"):
        for circuit in found[:CIRCUITS]:
            bits.link("circuit", f"{titles.get(circuit, 'circuit')} · {circuit[:6]}", {"circuit": circuit})
    if len(found) > CIRCUITS:
        st.html(f'<p class="lw-note">and {len(found) - CIRCUITS} more</p>')
