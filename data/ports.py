"""Where servers of ours listen: on this machine alone, on a port that nobody else has."""

from __future__ import annotations

import socket

from data.errors import Mistake

ADDRESS = "127.0.0.1"


def check_port(port: int, verb: str, usual: int) -> None:
    """Raises `Mistake` when something listens on `port` already; the sentence names another one for `verb`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise Mistake(
                f"Port {port} on {ADDRESS} cannot be used: {error.strerror}. Close what listens there, or choose "
                f"another with `lacewing {verb} --port {port + 1 if port < 65535 else usual}`."
            ) from error
