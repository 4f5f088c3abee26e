"""Steer: several features changed at once while the model writes, beside controls that could contradict it.

1. The address holds everything: the prompt (`prompt`), the features with what is done to each (`with`), how text is written
   (`tokens`, `temperature`, `seed`, `positions`, `controls`).
2. Text without and with the change stand side by side; so do the most likely next tokens.
3. Controls: as many random features of the same norm at the same tokens, and, where tokens are drawn, another seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from dashboard import asking, showcase, source, steering, steps
from dashboard.steering import POSITIONS, WAYS, Manner, Wish
from dashboard.widgets import bits, box, steered
from dashboard.widgets.tokens import readable
from data import queries
from data.errors import Mistake
from data.queries import of_search
from data.store import Workspace

TITLE = "Steer"
ICON = ":material/tune:"
GROUP = "Features"
ORDER = 14
LIMITS = {"tokens": (1, 200), "seed": (0, 1_000_000), "controls": (0, 8)}
USUAL = Manner()
LIMIT = 300.0
"""Seconds that writing may take."""


def examples(workspace: Workspace) -> showcase.Queries:
    """A prompt and a feature to change; nothing is computed until it is asked for."""
    best = showcase.best(workspace)
    return {"steer": {"prompt": "The keys to the cabinet", "with": str(best.feature)} if best else {}}


def render() -> None:
    """Draws the page."""
    bits.heading("Steer", detail="change features while the model writes, and see what random ones would have done")
    if not source.ask(of_search.dictionaries):
        bits.gap("There are no dictionaries yet, so there is no feature to steer with.",
                 steps.command(source.workspace(), "demo"))  # fmt: skip
        return
    prompt = box.box("prompt", "steer", "Prompt", lines=2, hint="The model goes on from here.")
    wanted = steering.wishes(st.query_params.get("with", ""))
    known = source.ask(of_search.described, tuple((w.feature.dictionary, w.feature.latent) for w in wanted))
    for wish in wanted:
        source.ask(queries.feature, wish.feature)  # one that does not exist is a sentence
        _wish(wish, wanted, known.get((wish.feature.dictionary, wish.feature.latent)))
    _add(wanted)
    manner = _manner()
    if not wanted:
        bits.gap("No feature is chosen. Write one above as DICTIONARY/LATENT, or come here from a feature's page.")
        bits.link("search", "Find a feature", {})
    elif prompt:
        st.fragment(_result, parallel=True)(prompt, wanted, manner)
    else:
        bits.gap("There is no prompt yet; write one above. Ctrl+Enter takes it.")


# The features --------------------------------------------------------------------------------------------------------


def _wish(wish: Wish, wanted: Sequence[Wish], known: of_search.Row | None) -> None:
    """One feature with its controls, whose keys hold what the address says."""
    name, key = str(wish.feature), f"wish_{wish}"
    a, b, c, d = st.columns([2.6, 1, 1, 0.6], vertical_alignment="center")
    with a:
        bits.link("feature", _named(wish, known), {"feature": name})
    does = b.selectbox(
        f"What is done to {name}", WAYS, WAYS.index(wish.does), key=f"{key}_does", label_visibility="collapsed",
        on_change=lambda: _put(wanted, replace(wish, does=st.session_state[f"{key}_does"])),
    )  # fmt: skip
    c.number_input(
        f"How much, in multiples of the record of {name}", value=float(wish.strength), step=0.5, format="%g",
        key=f"{key}_strength", label_visibility="collapsed", disabled=does == "ablate",
        help="added or held: in multiples of the greatest activation of the harvest; scaled: the factor",
        on_change=lambda: _put(wanted, replace(wish, strength=st.session_state[f"{key}_strength"])),
    )  # fmt: skip
    d.button("Remove", key=f"{key}_remove", type="tertiary", on_click=_put, args=(wanted, wish, True))


def _named(wish: Wish, known: of_search.Row | None) -> str:
    short = f"{wish.feature.dictionary[:6]}/{wish.feature.latent}"
    if known is None:
        return short
    said = readable(known["text"], 90) if known["text"] else "not explained"
    return f"{short} · {known['site']} · {said}"


def _put(wanted: Sequence[Wish], changed: Wish, remove: bool = False) -> None:
    """Writes the features into the address, one of them changed, added or removed."""
    rest = {wish.feature: wish for wish in wanted} | {changed.feature: changed}
    if remove:
        del rest[changed.feature]
    st.query_params.pop("with", None)
    if rest:
        st.query_params["with"] = ",".join(map(str, rest.values()))


def _add(wanted: Sequence[Wish]) -> None:
    """A box for another feature; what it cannot read is said below it."""
    key = f"steer_add_{len(wanted)}"
    a, _ = st.columns([2.6, 2.6])
    text = a.text_input(
        "Another feature", key=key, placeholder="another feature: DICTIONARY/LATENT", label_visibility="collapsed",
        on_change=_added, args=(wanted, key),
    )  # fmt: skip
    if text:
        bits.gap(f"{text!r} is no feature here, or is chosen already. Write DICTIONARY/LATENT, or search for one.")
        bits.link("search", "Search", {"q": text})


def _added(wanted: Sequence[Wish], key: str) -> None:
    found = source.ask(of_search.feature_named, st.session_state[key])
    if found is not None and found not in {wish.feature for wish in wanted}:
        _put(wanted, Wish(found))


# How it is written -------------------------------------------------------------------------------------------------------


def _manner() -> Manner:
    a, b, c, d, e = st.columns(5)
    with a:
        tokens = _whole("tokens", "Tokens written", USUAL.tokens)
    with b:
        temperature = _temperature()
    with c:
        seed = _whole("seed", "Seed", USUAL.seed)
    with d:
        positions = _positions()
    with e:
        controls = _whole("controls", "Random features", USUAL.controls)
    return Manner(tokens, temperature, seed, positions, controls)


def _whole(name: str, label: str, usual: int) -> int:
    """A whole number of the address. Raises `Mistake` for one out of its bounds."""
    low, high = LIMITS[name]
    text = st.query_params.get(name, str(usual))
    if not (text.isdecimal() and low <= int(text) <= high):
        raise Mistake(f"{name} = {text!r} in the address makes no sense here; {low} to {high:,} do.")
    key = f"{name}_is_{text}"
    st.number_input(label, low, high, int(text), key=key, on_change=lambda: _keep(name, st.session_state[key], usual))
    return int(text)


def _temperature() -> float:
    text = st.query_params.get("temperature", "0")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise Mistake(
            f"temperature = {text!r} in the address makes no sense here; 0 to 2 do, 0 being the likeliest token."
        )
    key = f"temperature_is_{text}"
    st.number_input(
        "Temperature", 0.0, 2.0, value, step=0.1, format="%g", key=key, help="0: always the most likely token",
        on_change=lambda: _keep("temperature", st.session_state[key], 0.0),
    )  # fmt: skip
    return value


def _positions() -> str:
    asked = Manner(positions=st.query_params.get("positions", "all")).positions
    key = f"positions_is_{asked}"
    st.selectbox(
        "Changed", list(POSITIONS), list(POSITIONS).index(asked), key=key, format_func=POSITIONS.__getitem__,
        on_change=lambda: _keep("positions", st.session_state[key], "all"),
    )  # fmt: skip
    return asked


def _keep(name: str, value: float | str, usual: float | str) -> None:
    st.query_params.pop(name, None)
    if value != usual:
        st.query_params[name] = value if isinstance(value, str) else f"{value:g}"


# What came of it -----------------------------------------------------------------------------------------------------


def _result(prompt: str, wanted: Sequence[Wish], manner: Manner) -> None:
    try:
        [model] = {asking.model_of(wish.feature.dictionary) for wish in wanted}
    except ValueError:
        bits.gap("These features are of dictionaries of several models; only those of one can be changed together.")
        return
    try:
        answer = asking.answer("steer", model=model, limit=LIMIT, **steering.request(prompt, wanted, manner))
    except Mistake as mistake:
        bits.gap(str(mistake))
        return
    bits.section("Text", "; ".join(_told(answer, wanted)))
    steered.texts(answer)
    steered.measures(answer)
    left, right = st.columns(2, gap="large")
    with left:
        bits.section("Next token", "at the end of the prompt")
        steered.nexts("steer_next", answer, 380)
    with right:
        bits.section("Controls", "what would have come without the feature")
        steered.controls(answer)
        bits.section("Reproduce")
        steered.reproduce(prompt, wanted, answer, manner.tokens)


def _told(answer: steered.Answer, wanted: Sequence[Wish]) -> list[str]:
    """What was done to each feature, and how active it was before."""
    found = []
    for wish, one in zip(wanted, answer["features"], strict=True):
        own = "" if one["active"] is None else f", {bits.number(one['active'], 2)} at most on the prompt before"
        amount = "" if wish.does in ("ablate", "scale") else f" = {bits.number(one['amount'], 2)}"
        found.append(f"{wish.feature.dictionary[:6]}/{wish.feature.latent}: {wish.said}{amount}{own}")
    if answer["prompt"]["cut"]:
        found.append(f"the last {answer['prompt']['cut']} tokens of the prompt were not read")
    if answer["precision"] != "fp32":
        found.append(f"computed in {answer['precision']}")
    return found
