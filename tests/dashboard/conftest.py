"""A generated workspace, and the pages run without a browser."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

sys.path.insert(0, str(Path(__file__).parent))

from generated import Made, make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The generated workspace; tests only read it."""
    return make(tmp_path_factory.mktemp("generated") / "workspace")


def script(start: str) -> None:
    """What AppTest runs: the whole app, with the page `start` at the root."""
    from dashboard import app

    app.main(start)


@dataclass(frozen=True)
class Shown:
    """A page as it was drawn."""

    app: AppTest

    @property
    def html(self) -> str:
        """Everything drawn with `st.html`, the style sheet left out."""
        bodies = (element.proto.body for element in self.app.get("html"))
        return "\n".join(body for body in bodies if not body.startswith("<style>"))

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """The data of our own components, by key."""
        found = {}
        for element in self.app.get("bidi_component"):
            found[element.proto.id.split("-", 2)[-1]] = json.loads(element.proto.json)
        return found

    @property
    def text(self) -> str:
        """All that a person can read: HTML, component data, labels."""
        return self.html + json.dumps(self.components, ensure_ascii=False)


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shown]:
    """`show(folder, page, **query)` draws one page of a workspace and fails on any exception."""

    def shown(folder: Path, page: str, /, **query: str) -> Shown:
        monkeypatch.setenv("LACEWING_WORKSPACE", str(folder))
        app = AppTest.from_function(script, args=(page,), default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception, [e.message for e in app.exception]
        return Shown(app)

    return shown
