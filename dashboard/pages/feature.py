"""Feature: the evidence about one latent of one dictionary, before what anybody says about it.

1. The address names it: `feature?feature=DICTIONARY/LATENT`, and how much text is shown around a peak (`context`).
2. Left: examples by strength, each token coloured on one scale. Right: statistics, explanations with every score beside
   its control, tokens it promotes and follows, the circuits it is in.
3. A score without a control is grey: it cannot be told from chance. A failed explanation or score says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import evidence, source, steps
from dashboard.verdicts import Verdict, verdicts
from dashboard.widgets import bits, plot, tokens
from dashboard.widgets.table import Column, Options, cell, effect, link, row, table
from data import queries
from data.words import Feature

TITLE = "Feature"
ICON = ":material/target:"
ORDER = 3
SHOWN = 8
"""Windows judged right, and as many wrong, that are shown of each scorer."""
CONTEXTS = {"short": evidence.SHORT, "full": evidence.FULL}


def render() -> None:
    """Draws the page."""
    asked = st.query_params.get("feature")
    if not asked:
        _choose()
        return
    wanted = Feature.parse(asked)
    record = source.ask(queries.feature, wanted)
    _head(wanted, record)
    left, right = st.columns([1.35, 1], gap="large")
    with left:
        _examples(wanted, record)
    with right:
        _explanations(wanted, record)
        _strength(record)
        _tokens(record["statistics"])
        _places(wanted)


def _choose() -> None:
    bits.heading("Feature")
    bits.gap("No feature is named in the address. Choose one from the table of features, or from a circuit.")
    bits.link("features", "Features", {})


def _head(wanted: Feature, record: Mapping[str, Any]) -> None:
    statistics = record["statistics"]
    crumb = f"{record['model_name']} › {record['site']} › {record['name']}"
    bits.heading(f"Feature {wanted.latent}", crumb=crumb, detail=str(wanted))
    _neighbours(wanted, record["latents"])
    bits.figures(
        [
            ("Active at", bits.percent(record["density"], 2), "of tokens in the harvest"),
            ("Firings", bits.number(statistics.get("firings")), f"in {statistics.get('documents', 0):,} documents"),
            ("Max activation", bits.number(record["max_activation"], 2), ""),
            ("Median activation", bits.number((statistics.get("quantiles") or {}).get("0.5"), 2), "when active"),
            (
                "Explained variance",
                bits.number((record["metrics"] or {}).get("explained_variance"), 3),
                "of its dictionary",
            ),
        ]
    )


def _neighbours(wanted: Feature, latents: int) -> None:
    with st.container(horizontal=True, gap="medium"):
        if wanted.latent > 0:
            bits.link("feature", f"‹ {wanted.latent - 1}", {"feature": f"{wanted.dictionary}/{wanted.latent - 1}"})
        if wanted.latent + 1 < latents:
            bits.link("feature", f"{wanted.latent + 1} ›", {"feature": f"{wanted.dictionary}/{wanted.latent + 1}"})
        bits.link("features", "all of this dictionary", {"dictionary": wanted.dictionary})


def _examples(wanted: Feature, record: Mapping[str, Any]) -> None:
    head, choice = st.columns([3, 1], vertical_alignment="bottom")
    with head:
        bits.section("Examples", "hover a token for its activation; the peak is underlined")
    with choice:
        options = list(CONTEXTS)
        context = st.segmented_control(
            "Context",
            options,
            default=options[0],
            key="context",
            bind="query-params",
            label_visibility="collapsed",
            required=True,
        )
    try:
        length = CONTEXTS[context or "short"]
        found = source.ask(evidence.groups, wanted, record["statistics"].get("harvest"), length=length)
    except evidence.UNREADABLE as error:
        bits.gap(f"The activations cannot be read: {error}", steps.command(source.workspace(), "harvest"))
        return
    if not found:
        bits.gap("This feature is dead: it never fired in the harvest, so there is nothing to show.")
    for group in found:
        st.html(_group(group, record["max_activation"]))


def _group(group: evidence.Group, top: float) -> str:
    many = f"{group.size:,} window{'s' if group.size > 1 else ''}, showing {len(group.windows)}"
    span = f"{bits.number(group.low, 2)} to {bits.number(group.high, 2)}"
    head = f'<div class="lw-group"><b>{bits.escape(group.name)}</b><span>{span}</span><span>{many}</span></div>'
    return head + "".join(example(w.tokens, w.values, top) for w in group.windows)


def example(texts: Sequence[str], values: Sequence[float], top: float, lead: str = "") -> str:
    """One example as a line of HTML: its peak activation (or `lead`), then its tokens."""
    before = lead or bits.number(max(values, default=0.0), 2)
    text = tokens.window(texts, values, top)
    return f'<div class="lw-example"><span>{before}</span><span class="lw-text">{text}</span></div>'


def _strength(record: Mapping[str, Any]) -> None:
    bits.section("Strength", "how often each activation occurs, over all tokens at which it is active")
    histogram = record["statistics"].get("histogram") or {}
    if histogram.get("counts"):
        plot.histogram("feature_histogram", histogram["edges"], histogram["counts"])
    else:
        bits.gap("There is no histogram: the feature never fired.")


def _tokens(statistics: Mapping[str, Any]) -> None:
    bits.section("Logits", "what its decoder direction promotes and suppresses, through the unembedding")
    up, down = statistics.get("top_logits") or [], statistics.get("bottom_logits") or []
    if up or down:
        top = max((abs(value) for _, value in [*up, *down]), default=1.0) or 1.0
        st.html(f'<div class="lw-logits">{_logits(up, top, "lw-up")}{_logits(down, top, "lw-down")}</div>')
    else:
        bits.gap("No logits are recorded for this feature.")
    bits.section("Lift", "tokens it fires on more often than chance: how many times more, and how often")
    lift = [(tokens.named(t), f"×{bits.number(by, 1)} · {count:,}") for t, by, count in statistics.get("lift") or []]
    if lift:
        st.html(bits.chips(lift))
    else:
        bits.gap("No token stands out.")


def _logits(pairs: Sequence[Sequence[Any]], top: float, kind: str) -> str:
    return f'<div class="{kind}">' + "".join(_logit(token, value, top) for token, value in pairs) + "</div>"


def _logit(token: str, value: float, top: float) -> str:
    width = f"{100 * abs(value) / top:.0f}%"
    text, said = bits.escape(tokens.named(token)), bits.signed(value, 2)
    return f'<div class="lw-logit"><i style="width:{width}"></i><code>{text}</code><span>{said}</span></div>'


def _explanations(wanted: Feature, record: Mapping[str, Any]) -> None:
    bits.section("Explanations", "grey: a score without a control cannot be told from chance")
    found = source.ask(queries.explanations, wanted)
    scores = source.ask(queries.scores, wanted)
    if not found:
        bits.gap("This feature has not been explained yet.", steps.command(source.workspace(), "explain"))
    for number, explanation in enumerate(found):
        mine = [s for s in scores if s["explanation"] == explanation["explanation"]]
        st.html(_explanation(explanation))
        if explanation["text"]:
            _scores(number, mine)
            _judged(wanted, record, mine)


def _explanation(row_: Mapping[str, Any]) -> str:
    made = f"by {row_['explainer']}, run {row_['run']}"
    if row_["error"]:
        said = f"<p>No explanation: {bits.escape(tokens.readable(row_['error'], 300))}</p>"
        return f'<div class="lw-explanation lw-failed">{said}<small>{bits.escape(made)}</small></div>'
    said = f"<p>{bits.escape(tokens.readable(row_['text'], 600))}</p>"
    return f'<div class="lw-explanation">{said}<small>{bits.escape(made)}</small></div>'


def _scores(number: int, scores: Sequence[Mapping[str, Any]]) -> None:
    if not scores:
        bits.gap("This explanation has not been scored yet.", steps.command(source.workspace(), "score"))
        return
    columns = [
        Column("Scorer", "line"),
        Column("Score", "num"),
        Column("Swapped", "num", "another feature's explanation, same windows"),
        Column("Difference", "num", "score minus swapped, paired bootstrap over documents"),
        Column("n", "num", "windows judged"),
    ]
    table(f"scores_{number}", columns, rows=[_score(s) for s in scores], options=Options("Scores", sort=False))
    for score in scores:
        if score["error"]:
            bits.gap(f"{score['scorer']} has no score: {tokens.readable(score['error'], 240)}")


def _score(score: Mapping[str, Any]) -> dict[str, Any]:
    if score["error"]:
        return row([score["scorer"], cell("failed", tone="grey"), "", "", score["trials"]])
    bare = score["control"] is None
    value = cell(bits.interval(score), **({"tone": "grey", "title": "no control was scored"} if bare else {}))
    gained = cell("no control", tone="grey") if bare else effect(score["difference"], digits=2)
    if not bare:
        gained["text"] = bits.interval(score, "difference")
    return row([score["scorer"], value, bits.interval(score, "control"), gained, score["trials"]])


def _judged(wanted: Feature, record: Mapping[str, Any], scores: Sequence[Mapping[str, Any]]) -> None:
    """The windows a scorer judged right and wrong, folded away, and what it remarked."""
    for score in scores:
        details = score["details"] or {}
        found = verdicts(details.get("windows") or [])
        remarks = [*(details.get("remarks") or []), *(details.get("reasons") or [])]
        for remark in remarks:
            bits.gap(f"{score['scorer']}: {tokens.readable(str(remark), 240)}")
        if found:
            right = sum(v.right for v in found)
            title = f"{score['scorer']}: {right} windows judged right, {len(found) - right} wrong"
            with st.expander(bits.escape_markdown(title)):
                _windows(wanted, record, found)


def _windows(wanted: Feature, record: Mapping[str, Any], found: Sequence[Verdict]) -> None:
    wrong, right = ([v for v in found if v.right == kind][:SHOWN] for kind in (False, True))
    judged = [*wrong, *right]
    places = tuple((v.document, v.start, v.length) for v in judged)
    try:
        windows = source.ask(evidence.at, wanted, record["statistics"].get("harvest"), places)
    except (*evidence.UNREADABLE, KeyError) as error:
        bits.gap(f"The windows cannot be read: {error}", steps.command(source.workspace(), "harvest"))
        return
    pairs = zip(judged, windows, strict=True)
    st.html("".join(example(w.tokens, w.values, record["max_activation"], _lead(v)) for v, w in pairs))


def _lead(verdict: Verdict) -> str:
    word = "right" if verdict.right else "wrong"
    said = "active" if verdict.said else "silent"
    return f'<span class="lw-{word}">{word}</span><br>said {said}'


def _places(wanted: Feature) -> None:
    bits.section("Circuits", "the nodes at which it takes part")
    found = source.ask(queries.places, wanted)
    if not found:
        bits.gap("It is in no circuit that has been traced.", steps.command(source.workspace(), "circuit agreement"))
        return
    top = max(abs(p["effect"]) for p in found)
    columns = [
        Column("Circuit", "line"),
        Column("Node", "mono line"),
        Column("Role", "line"),
        Column("Rank", "num"),
        Column("Effect", "num"),
        Column("Exact", "num", "measured by patching; a dash if only estimated"),
    ]
    rows = [
        row(
            [
                link(p["task"], "circuit", circuit=p["circuit"], node=p["node"]),
                p["node"],
                p["role"],
                p["rank"],
                effect(p["effect"], top),
                effect(p["verified"]),
            ]
        )
        for p in found
    ]
    table("feature_places", columns, rows=rows, options=Options("Nodes of circuits", height=260))
