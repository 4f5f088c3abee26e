"""A language-model endpoint on loopback that behaves as badly as a test wants."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[dict[str, Any], int], Reply]
"""Given the request's body and how many came before it: status, headers, body."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # with socketserver's 5, connections of a fast client are refused, and each is a try


@contextlib.contextmanager
def serve(behaviour: Behaviour) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serves until the block ends; yields the base URL and the bodies received so far."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send((200, {}, json.dumps({"object": "list", "data": [{"id": "judge", "object": "model"}]}).encode()))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            received.append(body)
            self._send(behaviour(body, len(received) - 1))

        def _send(self, reply: Reply) -> None:
            status, headers, body = reply
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                for piece in _pieces(body, float(headers.get("x-pause", 0))):
                    self.wfile.write(piece)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _pieces(body: bytes, pause: float) -> Iterator[bytes]:
    """The body at once, or byte by byte with a pause before each."""
    if not pause:
        yield body
        return
    for at in range(len(body)):
        time.sleep(pause)
        yield body[at : at + 1]


def says(content: str, used: tuple[int, int] = (7, 3), **choice: Any) -> Reply:
    """A chat completion whose message is `content`; `used`: tokens of the prompt and of the answer."""
    message = {"role": "assistant", "content": content, **choice.pop("message", {})}
    body = {
        "id": "1", "object": "chat.completion", "created": 0, "model": "judge",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message, **choice}],
        "usage": {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)},
    }  # fmt: skip
    return 200, {}, json.dumps(body).encode()


def error(status: int, **headers: str) -> Reply:
    """An error of the endpoint."""
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, b'{"error": {"message": "no"}}'


def asked(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON object in the user's message."""
    return json.loads(body["messages"][-1]["content"])


def always(answer: bool) -> Behaviour:
    """A judge that gives the same answer to everything."""
    return lambda body, _: says(json.dumps({"active": [answer] * len(asked(body)["passages"])}))


def judges(verdict: Callable[[str, str, int], bool]) -> Behaviour:
    """A judge that says of each passage what `verdict` makes of the explanation, the passage and its place."""

    def behave(body: dict[str, Any], _: int) -> Reply:
        content = asked(body)
        said = [verdict(content["explanation"], p, at) for at, p in enumerate(content["passages"])]
        return says(json.dumps({"active": said}))

    return behave


def drawn(*what: str) -> float:
    """A number between 0 and 1 that depends on the texts alone: a judge asked again says the same."""
    return int(hashlib.sha256("|".join(what).encode()).hexdigest()[:8], 16) / 2**32


def oracle(words: set[str], flips: float = 0.0) -> Behaviour:
    """A judge that says yes where one of `words` is in both the explanation and the passage; wrong on a share `flips`."""

    def verdict(explanation: str, passage: str, _: int) -> bool:
        told = {w for w in words if w in explanation.lower()}
        return any(f" {w}" in passage for w in told) != (drawn("flip", explanation, passage) < flips)

    return judges(verdict)


def coin(body: dict[str, Any], before: int) -> Reply:
    """A judge that tosses a coin for each passage."""
    return judges(lambda explanation, passage, _: drawn("coin", explanation, passage) < 0.5)(body, before)


def first_position(body: dict[str, Any], before: int) -> Reply:
    """A judge that says yes to the first of a list and no to the others."""
    return judges(lambda _, __, place: place == 0)(body, before)


def with_logprobs(behaviour: Behaviour, said: float, other: float) -> Behaviour:
    """`behaviour` with log-probabilities: `said` for each true or false of the answer, `other` for its opposite."""

    def behave(body: dict[str, Any], before: int) -> Reply:
        status, headers, reply = behaviour(body, before)
        whole = json.loads(reply)
        choice = whole["choices"][0]
        verdicts = [str(v).lower() for v in json.loads(choice["message"]["content"])["active"]]
        opposite = {"true": "false", "false": "true"}
        listed = [[{"token": v, "logprob": said}, {"token": opposite[v], "logprob": other}] for v in verdicts]
        choice["logprobs"] = {"content": [{"token": tops[0]["token"], "top_logprobs": tops} for tops in listed]}
        return status, headers, json.dumps(whole).encode()

    return behave


def after(times: int, trouble: Reply, then: Behaviour) -> Behaviour:
    """`trouble` so many times, then `then`."""
    return lambda body, before: trouble if before < times else then(body, before)


def for_some(share: float, trouble: Behaviour, other: Behaviour) -> Behaviour:
    """`trouble` for a share of the requests, always the same ones."""

    def behave(body: dict[str, Any], before: int) -> Reply:
        return (trouble if drawn("some", body["messages"][-1]["content"]) < share else other)(body, before)

    return behave


def stalls(seconds: float) -> Behaviour:
    """An endpoint that answers too late."""

    def behave(body: dict[str, Any], _: int) -> Reply:
        time.sleep(seconds)
        return says("{}")

    return behave


def trickles(seconds: float) -> Behaviour:
    """An endpoint that sends a byte now and then, so that no single read takes long."""
    return lambda *_: (200, {"x-pause": str(seconds)}, says("{}")[2])
