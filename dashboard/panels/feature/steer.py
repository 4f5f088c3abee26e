"""Steer: what the model writes when this feature is added to, or taken away, beside what it writes without.

The address keeps prompt (`prompt`) and strength (`push`); the page Steer has the rest: several features, seeds, controls.
"""

from __future__ import annotations

import streamlit as st

from dashboard import asking, steering
from dashboard.panels import ShownFeature
from dashboard.steering import Manner, Wish
from dashboard.widgets import bits, box, steered, switch
from data.errors import Mistake

PLACE = "right"
ORDER = 35
PUSHES = {
    "-4": "−4", "-2": "−2", "-1": "−1", "ablate": "ablate", "1": "+1", "2": "+2", "4": "+4", "8": "+8",
}  # fmt: skip
USUAL = "2"


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    bits.section(
        "Steer", "in multiples of its record, added at every token; random features of the same norm beside it"
    )
    st.fragment(_panel, parallel=True)(shown)


def _panel(shown: ShownFeature) -> None:
    try:
        prompt = box.box("prompt", "feature", "Prompt", hint="a prompt that the model goes on from", hidden=True)
        push = switch.switch("push", list(PUSHES), USUAL, said=PUSHES.__getitem__)
        wish = Wish(shown.feature, "ablate" if push == "ablate" else "add", 0.0 if push == "ablate" else float(push))
        if prompt:
            _result(prompt, wish)
        query = {"with": str(wish)} | ({"prompt": prompt} if prompt else {})
        bits.link("steer", "More: several features, seeds, controls", query)
    except Mistake as mistake:
        bits.gap(str(mistake))


def _result(prompt: str, wish: Wish) -> None:
    model = asking.model_of(wish.feature.dictionary)
    answer = asking.answer("steer", model=model, **steering.request(prompt, [wish], Manner()))
    steered.texts(answer)
    st.html(f'<div class="lw-legend"><span>{bits.escape(steering.judged(answer["rows"]))}</span></div>')
