"""Judgement: what you say of a feature (a label, ratings, a note, lists), saved as you say it, and the label scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import judging, rater, source
from dashboard.panels import ShownFeature
from dashboard.widgets import bits
from dashboard.widgets.judge import judge
from data import queries

PLACE = "right"
ORDER = 15


def render(shown: ShownFeature) -> None:
    """Draws the panel."""
    feature = shown.feature
    explanations = source.ask(queries.explanations, feature)
    bits.section("Your judgement", "saved as you go; others' ratings show once you have rated")
    judging.complaint()
    with st.container(gap="xsmall"):
        who = rater.ask("feature_rater")
        texts = {e["explanation"]: e["text"] for e in explanations}

        def act(done: Mapping[str, Any]) -> None:
            judging.perform(done, member=f"feature {feature}", text=texts.get(done.get("explanation"), "") or "")

        judge("feature_judge", judging.face_of_feature(who, feature, explanations), act)
