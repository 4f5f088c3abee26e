"""What is stored about the feature that is shown, asked for once by all of its panels."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import source
from dashboard.panels import ShownFeature
from data.queries import Row, of_explanations
from data.queries.of_explanations import About
from data.words import Feature


def about(shown: ShownFeature) -> About:
    """Everything that is stored about it, and what is said of the latents that the harvest found near to it."""
    statistics = shown.record["statistics"]
    near = [int(latent) for name in ("nearest", "neighbours") for latent, _ in statistics.get(name) or []]
    return source.ask(of_explanations.about, shown.feature, tuple(dict.fromkeys(near)))


def texts(shown: ShownFeature, wanted: Sequence[Feature]) -> dict[Feature, Row]:
    """Density and best explanation of other features; those that nobody has asked for yet are asked for."""
    found = {feature: row for feature, row in about(shown).texts.items() if feature in wanted}
    more = tuple(feature for feature in wanted if feature not in found)
    return found | (source.ask(of_explanations.texts, more) if more else {})
