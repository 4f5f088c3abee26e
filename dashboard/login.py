"""Who may see the pages when other machines can reach them (`lacewing dashboard --public HOST`).

1. Bound to this machine, the pages ask nobody who they are.
2. Bound to all interfaces, they want the password of `LACEWING_PASSWORD`; without one, `check` refuses to serve.
3. Whoever knows it gets a token (HMAC-SHA-256 of the password under a secret that the server draws at its start), which
   the browser keeps for its tab, so that a reload or a link need no second entry. Passwords and tokens are compared in
   constant time; a wrong one is answered after `PAUSE` seconds, one at a time.

The password travels as the page does: without HTTPS in front, anyone between can read it. `serve` says so.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time

import streamlit as st

from dashboard.serve import PASSWORD, PUBLIC
from dashboard.widgets import bits
from dashboard.widgets.component import mount

PAUSE = 1.0
KEY = "login"


def admitted() -> bool:
    """Whether this session may see the pages; draws the question for the password where it may not yet."""
    if PUBLIC not in os.environ:
        return True
    if "token" in st.session_state:
        mount("login", {"keep": st.session_state["token"]}, KEY, on_token_change=_nothing, on_password_change=_nothing)
        return True
    bits.heading("Lacewing", detail="this workspace asks for its password")
    wrong = st.session_state.get("refused", False)
    mount("login", {"keep": "", "wrong": wrong}, KEY, on_token_change=_returned, on_password_change=_entered)
    return False


def _nothing() -> None:
    """A token that is kept already changes nothing."""


def _entered() -> None:
    given = st.session_state[KEY].get("password")
    if isinstance(given, str) and hmac.compare_digest(_token(given), _right()):
        st.session_state["token"] = _right()
        return
    with _one_at_a_time():
        time.sleep(PAUSE)
    st.session_state["refused"] = True


def _returned() -> None:
    given = st.session_state[KEY].get("token")
    if isinstance(given, str) and hmac.compare_digest(given.encode(), _right().encode()):
        st.session_state["token"] = _right()


def _right() -> str:
    return _token(os.environ.get(PASSWORD) or secrets.token_hex())


def _token(password: str) -> str:
    return hmac.new(_secret(), password.encode(), hashlib.sha256).hexdigest()


@st.cache_resource
def _secret() -> bytes:
    return secrets.token_bytes(32)


@st.cache_resource
def _one_at_a_time() -> threading.Lock:
    return threading.Lock()
