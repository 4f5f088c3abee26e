"""What `lacewing train` and `lacewing resume` may be told; no torch here, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field

from data import parts
from data.config import DEFAULT_MODEL
from data.errors import Mistake
from data.words import Site, parse_sites

PRECISIONS = ("bf16", "fp32")


@dataclass(frozen=True)
class TrainConfig:
    """Dictionaries to train: one per site, all from the same stream of activations."""

    model: str = DEFAULT_MODEL
    """The subject model: a hub name or a local folder."""
    sites: str = "resid_post:5,10,15,20,25"
    """Where to train a dictionary, as KIND:LAYER,LAYER,...; a kind holds until the next one."""
    architecture: str = "batchtopk"
    """The kind of dictionary: a file name in training/architectures."""
    latents: int = 2304
    """How many latents each dictionary has."""
    k: int = 32
    """How many latents may be active on a token (batchtopk: on average)."""
    tokens: int = 300_000
    """How many tokens to train on; the text is gone through again when it is shorter."""
    seed: int = 0
    """Seed of the order of the text, the shuffle and the first weights."""
    text: str | None = None
    """A .txt, .jsonl or .parquet file of text; none: the public-domain sample that comes along."""
    context: int = 128
    """Tokens in a block given to the model, its prefix included."""
    batch: int = 256
    """Tokens in a training step."""
    learning_rate: float = 2e-3
    """Adam's rate after warm-up and before decay, for activations scaled to unit mean squared distance."""
    buffer: int = 32_768
    """Tokens in the shuffle reservoir; each takes sites x model width x 2 bytes (4 in fp32)."""
    checkpoint_every: int = 400
    """Steps between two checkpoints; the newest two are kept until the run is done."""
    precision: str = "bf16"
    """In what the subject model runs and activations wait (bf16 or fp32); dictionaries train in fp32 always."""

    def __post_init__(self) -> None:
        parts_known = parts.names("training.architectures")
        if self.architecture not in parts_known:
            parts.load("training.architectures", self.architecture)
        if self.precision not in PRECISIONS:
            raise Mistake(f"precision = {self.precision!r} is not known; choose one of {', '.join(PRECISIONS)}.")
        self._check_positive()
        self._check_sizes()
        parse_sites(self.sites)

    def _check_positive(self) -> None:
        for name in ("latents", "k", "tokens", "batch", "buffer", "checkpoint_every", "learning_rate"):
            if getattr(self, name) <= 0:
                raise Mistake(f"{name} = {getattr(self, name)} is too small; it must be above 0.")
        if self.seed < 0:
            raise Mistake(f"seed = {self.seed} is negative; give 0 or more.")

    def _check_sizes(self) -> None:
        if self.k > self.latents:
            raise Mistake(
                f"k = {self.k} is more than latents = {self.latents}: no more latents can be active than there are. "
                f"Lower --k or raise --latents."
            )
        if self.context < 8:
            raise Mistake(f"context = {self.context} is too short for a model to show anything; give 8 or more.")
        if self.tokens < self.batch:
            raise Mistake(f"tokens = {self.tokens} is less than one batch of {self.batch}; raise --tokens.")
        if self.buffer < self.batch:
            raise Mistake(f"buffer = {self.buffer} is less than one batch of {self.batch}; raise --buffer.")

    @property
    def steps(self) -> int:
        """Training steps of each dictionary."""
        return self.tokens // self.batch

    @property
    def places(self) -> tuple[Site, ...]:
        """The sites, in the order in which a forward pass meets them."""
        return parse_sites(self.sites)


@dataclass(frozen=True)
class ResumeConfig:
    """A training run to go on with."""

    run: str = field(metadata={"positional": True})
    """The run's id (or its beginning), as `lacewing runs` lists it."""
