"""Our own components: a script and a style sheet of this folder, mounted without an iframe.

Each script sets every text with `textContent`: data is never read as markup. What a component shows is its `data`; what
a person does comes back as a trigger, whose callback writes the address.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import streamlit as st
from streamlit.components.v2 import component

HERE = Path(__file__).parent


@functools.cache
def _text(name: str) -> str:
    return (HERE / name).read_text()


def mount(name: str, data: Mapping[str, Any], key: str, **callbacks: Callable[[], None]) -> Any:
    """Mounts NAME.js with base.css and NAME.css; `callbacks` are `on_TRIGGER_change`. Returns its result."""
    styles = _text("base.css") + _text(f"{name}.css")
    html = '<div class="root"></div>'
    renderer = component(f"lacewing_{name}", html=html, css=styles, js=_text(f"{name}.js"))
    return renderer(data=dict(data), key=key, **cast(Any, callbacks))


def triggered(key: str, name: str) -> Any:
    """Within a callback: the value that the component `key` sent as the trigger `name`."""
    return st.session_state[key][name]
