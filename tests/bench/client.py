"""The language-model client: its throughput beside the most that a loopback server can give.

1. The server is a process of its own that answers each request after a fixed delay with a small completion; it does
   nothing else, so that `PARALLEL` requests under way are answered at `PARALLEL` / delay a second at the most.
2. The bare side writes the same bodies, made before, to as many sockets, and parses the answers: no client library, no
   ledger, the most that one process can take from that server.
3. Ours is `Client.ask` with all it does: digests, gate, purse, the ledger written line by line, rows in the store.

Both get the same number of requests; sides take turns. Delays stand for models: a small one on a GPU answers in 0.25 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.harness import Setting, Spread, Table, alternate

from autointerp.llm import Client, Endpoint, Request
from autointerp.llm_config import LlmConfig
from autointerp.wire import Dialect
from data.store import Workspace

PARALLEL = 64
DELAYS = (0.25, 1.0)
SERVER = """
import asyncio, json, sys
delay = float(sys.argv[1])
said = {"role": "assistant", "content": json.dumps({"active": [True, False, True, True, False]})}
usage = {"prompt_tokens": 300, "completion_tokens": 12, "total_tokens": 312}
body = {"id": "1", "object": "chat.completion", "created": 0, "model": "judge", "usage": usage,
        "choices": [{"index": 0, "finish_reason": "stop", "message": said}]}
text = json.dumps(body).encode()
reply = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(text) + text

class Answers(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.got = transport, b""

    def data_received(self, data):
        self.got += data
        while (end := self.got.find(b"\\r\\n\\r\\n")) >= 0:
            head = self.got[:end].lower()
            size = int(head.partition(b"content-length:")[2].split(b"\\r\\n")[0] or 0)
            if len(self.got) < end + 4 + size:
                return
            self.got = self.got[end + 4 + size :]
            asyncio.get_running_loop().call_later(delay, self.transport.write, reply)

async def main():
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
SCHEMA = {
    "type": "object",
    "properties": {"active": {"type": "array", "items": {"type": "boolean"}}},
    "required": ["active"],
}


def tables(setting: Setting) -> Iterator[Table]:
    """Requests a second of both sides at each delay."""
    found = Table(
        f"Client at {PARALLEL} parallel requests",
        (
            "delay, s",
            "requests",
            "server's bound/s",
            "bare sockets/s",
            "ours/s",
            "ours / bare",
            "ours / bound",
            "rounds",
        ),
    )
    for delay in setting.of(DELAYS, (0.02,)):
        found.rows.append(_row(delay, setting.of(PARALLEL * 24, PARALLEL * 2), setting.of(5, 1)))
    found.notes.append(
        "Bound: as many requests as are under way, over the delay. Ours begins with 32 under way and finds 64 by itself."
    )
    yield found


def _row(delay: float, count: int, rounds: int) -> tuple[object, ...]:
    with serving(delay) as port:
        url = f"http://127.0.0.1:{port}/v1"
        sides = {"ours": lambda: count / _ours(url, count), "bare": lambda: count / asyncio.run(_bare(port, count))}
        alternate(sides, 1)
        rates = alternate(sides, rounds)
    bound = PARALLEL / delay
    share = Spread.of([rate / bound for rate in rates["ours"]])
    ratio = Spread.ratio(rates["ours"], rates["bare"])
    return (f"{delay:g}", count, bound, Spread.of(rates["bare"]), Spread.of(rates["ours"]), ratio, share, rounds)


@contextlib.contextmanager
def serving(delay: float) -> Iterator[int]:
    """The port of a server that answers after `delay` seconds."""
    with subprocess.Popen([sys.executable, "-c", SERVER, str(delay)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def requests(count: int) -> list[Request]:
    """Questions of the size of a detection request."""
    passages = ["the boat went down the river past the lake and the sea"] * 5
    return [
        Request("s" * 400, json.dumps({"explanation": f"feature {n}", "passages": passages}), SCHEMA, tokens=50)
        for n in range(count)
    ]


def _ours(url: str, count: int) -> float:
    asked = requests(count)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder) / "w", create=True)
        with Client(workspace, Endpoint(url, "none", "judge"), LlmConfig(llm_parallel=PARALLEL)) as client:
            began = time.perf_counter()
            answers = client.ask(asked)
            seconds = time.perf_counter() - began
    assert all(answer.state == "ok" for answer in answers)
    return seconds


async def _bare(port: int, count: int) -> float:
    whole = [json.dumps(Dialect().body(request, "judge")).encode() for request in requests(count)]
    bodies = iter(whole)

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in bodies:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            told = await reader.readuntil(b"\r\n\r\n")
            size = int(told.partition(b"content-length:")[2].split(b"\r\n")[0])
            assert json.loads(await reader.readexactly(size))["choices"]
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(PARALLEL)))
    return time.perf_counter() - began
