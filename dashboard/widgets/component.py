"""Our own components: a script and a style sheet of this folder, mounted without an iframe.

Each script sets every text with `textContent`: data is never read as markup. What a component shows is its `data`; what
a person does comes back as a trigger, whose callback writes the address.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import streamlit as st
from streamlit.components.v2 import component

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Mounted:
    """A component that was recorded instead of shown."""

    name: str
    data: Mapping[str, Any] | bytes
    key: str

    def __getattr__(self, name: str) -> None:
        """No trigger and no state: nobody can have clicked."""
        if name.startswith("__"):
            raise AttributeError(name)


_recorder: ContextVar[list[Mounted] | None] = ContextVar("recorder", default=None)


@contextlib.contextmanager
def recorded() -> Iterator[list[Mounted]]:
    """Within it `mount` shows nothing: what would have been mounted is in the list, for a file that is taken away."""
    found: list[Mounted] = []
    token = _recorder.set(found)
    try:
        yield found
    finally:
        _recorder.reset(token)


@functools.cache
def _text(name: str) -> str:
    return (HERE / name).read_text()


def styles(name: str) -> str:
    """base.css and NAME.css."""
    return _text("base.css") + _text(f"{name}.css")


@functools.cache
def script(name: str) -> str:
    """base.js, NAME.PART.js (the parts of a large component), and then NAME.js, which exports it."""
    return "".join(map(_text, ["base.js", *sorted(part.name for part in HERE.glob(f"{name}.*.js")), f"{name}.js"]))


def mount(name: str, data: Mapping[str, Any] | bytes, key: str, **callbacks: Callable[[], None]) -> Any:
    """Mounts NAME.js with base.css and NAME.css; `callbacks` are `on_TRIGGER_change`. Returns its result."""
    if (record := _recorder.get()) is not None:
        record.append(Mounted(name, data, key))
        return record[-1]
    html = '<div class="root"></div>'
    renderer = component(f"lacewing_{name}", html=html, css=styles(name), js=script(name))
    return renderer(data=data if isinstance(data, bytes) else dict(data), key=key, **cast(Any, callbacks))


def triggered(key: str, name: str) -> Any:
    """Within a callback: the value that the component `key` sent as the trigger `name`."""
    return st.session_state[key][name]
