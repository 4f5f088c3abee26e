"""Jobs: what runs and ran here, from this dashboard or from a terminal, and forms that start more."""

from __future__ import annotations

from dashboard.widgets import bits

TITLE = "Jobs"
ICON = ":material/manufacturing:"
ORDER = 8


def render() -> None:
    """Draws the page."""
    bits.heading("Jobs", detail="what runs and ran here")
