"""How the dashboard is served (no torch and no streamlit here: `lacewing --help` reads this)."""

from __future__ import annotations

from dataclasses import dataclass

from data.errors import Mistake


@dataclass(frozen=True)
class DashboardConfig:
    """Where the pages are served."""

    port: int = 8501
    """Port on 127.0.0.1, or on every interface with --public."""
    public: str = ""
    """The name or address by which other machines reach this one, such as lab.example.org: lets them in, with the password
    that LACEWING_PASSWORD holds. None: this machine alone."""
    browser: bool = False
    """Open a browser window once the pages are up."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise Mistake(f"port = {self.port} is not a port; ports are 1 to 65535, such as 8501.")
