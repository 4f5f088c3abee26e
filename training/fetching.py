"""Where a dictionary that was trained elsewhere comes from.

1. A folder is taken as it is.
2. `RELEASE/SAE_ID` of sae-lens' directory is loaded by sae-lens, which knows each release's converter and norm factor,
   and put down in the SAELens layout.
3. `OWNER/NAME` or `OWNER/NAME/FOLDER` is fetched from the hub; of a repository with several, one must be named.
"""

from __future__ import annotations

import contextlib
import difflib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import Mistake
from data.weights import offline

TOP = ["cfg.json", "config.json", "sae_weights.safetensors", "sae.safetensors", "ae.pt", "*/cfg.json", "*/config.json"]
"""What is fetched of a repository in which no folder is named: one dictionary at its top, or what its folders are."""


@contextlib.contextmanager
def fetched(source: str) -> Iterator[Path]:
    """The local folder of `source`, for as long as the context lasts; raises `Mistake` when it cannot be had."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        yield folder
        return
    if folder.exists():
        raise Mistake(f"{source!r} is a file; give the folder that it is in.")
    first, _, rest = source.partition("/")
    if not rest or first in ("", ".", "..", "~"):
        raise Mistake(
            f"There is no folder {source!r}. Give a folder, a SAELens RELEASE/SAE_ID or a hub repository OWNER/NAME."
        )
    if first not in (releases := _releases()):
        yield _repository(source, list(releases))
        return
    with tempfile.TemporaryDirectory() as aside:
        _from_release(first, rest, list(releases[first].saes_map)).save_model(aside)
        yield Path(aside)


def _releases() -> dict[str, Any]:
    """sae-lens' own directory of releases, which is part of the package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sae-lens' own dependencies deprecate things while importing
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
    return get_pretrained_saes_directory()


def _from_release(release: str, name: str, known: list[str]) -> Any:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
        raise Mistake(
            f"The release {release!r} has no SAE {name!r}. It has {len(known)}, {near[0] if near else known[0]!r} "
            f"among them."
        )
    with _hub(f"{release}/{name}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sae-lens' remarks on its own converters
        from sae_lens import SAE

        return SAE.from_pretrained(release, name, device="cpu", dtype="float32")


def _repository(source: str, releases: list[str]) -> Path:
    """The folder of a hub repository, or of one folder within it."""
    owner, name, *inner = source.strip("/").split("/")
    near = difflib.get_close_matches(owner, releases, n=1, cutoff=0.7)
    guess = f" Did you mean the SAELens release {near[0]!r}?" if near else ""
    wanted = [f"{'/'.join(inner)}/*", "config.json"] if inner else TOP
    with _hub(source, guess):
        folder = snapshot(f"{owner}/{name}", wanted).joinpath(*inner)
    if not folder.is_dir():
        raise Mistake(f"The hub repository {owner}/{name} has no folder {'/'.join(inner)!r}.")
    return folder


def snapshot(repository: str, patterns: list[str]) -> Path:
    """The local copy of a hub repository's files that match `patterns`; what is in the hub's cache needs no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if offline():
        try:
            return Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=True))
        except LocalEntryNotFoundError as error:
            raise OSError("no route to the hub") from error
    return Path(snapshot_download(repository, allow_patterns=patterns))


@contextlib.contextmanager
def _hub(source: str, guess: str = "") -> Iterator[None]:
    """Failures of the hub as one sentence."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise Mistake(
            f"{source!r} is neither a local folder nor to be had from the hub ({type(error).__name__}).{guess} "
            f"Check the name and the network."
        ) from error
