"""What `lacewing import`, `export` and `doctor` may be told; no torch here, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field

from data import parts
from data.errors import Mistake
from data.words import Site


@dataclass(frozen=True)
class ImportConfig:
    """A dictionary trained elsewhere, to be proved and registered here."""

    source: str = field(metadata={"positional": True})
    """A folder, a SAELens RELEASE/SAE_ID, or a hub repository OWNER/NAME with the folder in it, if there is one."""
    format: str | None = None
    """How it is saved: a file name in training/formats; none: recognised from the files."""
    model: str | None = None
    """The subject model: a hub name or a local folder; none: the one that the files name, if it can be had."""
    site: str | None = None
    """The site it was trained on, KIND:LAYER; none: what the files say. A transcoder's is the one it reads."""
    writes: str | None = None
    """The site a transcoder writes, KIND:LAYER; none: what the files say."""
    name: str | None = None
    """What to call it; none: site, architecture and width."""
    text: str | None = None
    """Text to evaluate it on when the model can be had: a .txt, .jsonl or .parquet file; none: the bundled sample."""
    tokens: int = 8192
    """How many held-out tokens to evaluate it on."""
    seed: int = 0
    """Seed of the probe that it is proved on."""

    def __post_init__(self) -> None:
        _check_format(self.format)
        _check_tokens(self.tokens)
        for site in (self.site, self.writes):
            if site is not None:
                Site.parse(site)


@dataclass(frozen=True)
class ExportConfig:
    """A dictionary to be written out for other tools."""

    dictionary: str = field(metadata={"positional": True})
    """The dictionary's digest."""
    folder: str = field(metadata={"positional": True})
    """The folder to make; it must not exist yet."""
    format: str = "saelens"
    """How to save it: a file name in training/formats that can save."""
    seed: int = 0
    """Seed of the probe that the copy is proved on."""

    def __post_init__(self) -> None:
        _check_format(self.format)


@dataclass(frozen=True)
class DoctorConfig:
    """A dictionary to be examined on held-out text."""

    dictionary: str = field(metadata={"positional": True})
    """The dictionary's digest."""
    model: str | None = None
    """The subject model: a hub name or a local folder; none: the one it was trained on."""
    text: str | None = None
    """A .txt, .jsonl or .parquet file of text; none: the public-domain sample that comes along."""
    tokens: int = 8192
    """How many held-out tokens to look at."""

    def __post_init__(self) -> None:
        _check_tokens(self.tokens)


def _check_format(name: str | None) -> None:
    if name is not None and name not in parts.names("training.formats"):
        parts.load("training.formats", name)


def _check_tokens(tokens: int) -> None:
    if tokens < 256:
        raise Mistake(f"--tokens {tokens} is too few to tell anything; give at least 256.")
