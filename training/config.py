"""What `lacewing train`, `sweep` and `resume` may be told; no torch here, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field

from data import parts
from data.config import DEFAULT_MODEL
from data.errors import Mistake, unknown
from data.words import Site, parse_sites

PRECISIONS = ("bf16", "fp32")
SCHEDULES = ("linear", "cosine", "constant")
DECODERS = ("free", "unit")


@dataclass(frozen=True)
class StreamConfig:
    """Where the activations come from."""

    model: str = DEFAULT_MODEL
    """The subject model: a hub name, a local folder or a .gguf file."""
    sites: str = "resid_post:5,10,15,20,25"
    """Where to train dictionaries, as KIND:LAYER,LAYER,...; a kind holds until the next one."""
    text: str | None = None
    """A file or folder of .txt, .jsonl or .parquet, or a hub dataset as OWNER/NAME[@REVISION][:CONFIG[:SPLIT]][#COLUMN];
    none: the public-domain sample that comes along."""
    tokens: int = 300_000
    """How many tokens to train on; the text is gone through again when it is shorter."""
    context: int = 128
    """Tokens in a block given to the model, its prefix included."""
    batch: int = 256
    """Tokens in a training step."""
    buffer: int = 32_768
    """Tokens in the shuffle reservoir; each takes sites x model width x 2 bytes (4 in fp32)."""
    precision: str = "bf16"
    """In what the subject model runs and activations wait (bf16 or fp32); dictionaries train in fp32 always."""
    device: str = "auto"
    """Where the model and the dictionaries live: cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    ahead: int = 0
    """Passes of the model that may be made ahead, while the dictionaries learn; worth 2 on a GPU."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise Mistake(f"precision = {self.precision!r} is not known; choose one of {', '.join(PRECISIONS)}.")
        _above_zero(self, "tokens", "batch", "buffer")
        if self.ahead < 0:
            raise Mistake(f"ahead = {self.ahead} is negative; give 0 or more.")
        if self.context < 8:
            raise Mistake(f"context = {self.context} is too short for a model to show anything; give 8 or more.")
        if self.tokens < self.batch:
            raise Mistake(f"tokens = {self.tokens} is less than one batch of {self.batch}; raise --tokens.")
        if self.buffer < self.batch:
            raise Mistake(f"buffer = {self.buffer} is less than one batch of {self.batch}; raise --buffer.")
        parse_sites(self.sites)

    @property
    def steps(self) -> int:
        """Training steps of each dictionary."""
        return self.tokens // self.batch

    @property
    def places(self) -> tuple[Site, ...]:
        """The sites, in the order in which a forward pass meets them."""
        return parse_sites(self.sites)


@dataclass(frozen=True)
class LoopConfig(StreamConfig):
    """How the dictionaries learn, and what is kept meanwhile."""

    warm_up: float = 0.05
    """Share of the run in which the learning rate rises from 0."""
    decay: float = 0.5
    """Share of the run, its last, in which the rate falls to 0."""
    schedule: str = "linear"
    """How it falls: linear, cosine, or constant (not at all)."""
    decoder: str = "free"
    """Norms of decoder rows while training: free, or unit (kept at 1, gradients along the row removed)."""
    checkpoint_every: int = 400
    """Steps between two checkpoints."""
    keep: int = 2
    """How many of the newest checkpoints are kept until the run is done."""
    evaluate_every: int = 0
    """Steps between two measurements on held-out text while training; 0: only at the end."""
    sinks: str = ""
    """Where curves go besides the workspace, comma-separated: tensorboard, wandb."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _above_zero(self, "checkpoint_every", "keep")
        for name, known in (("schedule", SCHEDULES), ("decoder", DECODERS)):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        if not (0 <= self.warm_up < 1 and 0 <= self.decay <= 1):
            raise Mistake(f"warm_up = {self.warm_up} and decay = {self.decay} are shares of the run, from 0 to 1.")
        if self.evaluate_every < 0:
            raise Mistake(f"evaluate_every = {self.evaluate_every} is negative; give 0 or more.")


@dataclass(frozen=True)
class TrainConfig(LoopConfig):
    """Dictionaries to train: one of each architecture at each site, all from the same stream of activations."""

    architecture: str = "batchtopk"
    """The kinds of dictionary, comma-separated: file names in training/architectures; NAME:SETTING=VALUE sets theirs."""
    latents: int = 2304
    """How many latents each dictionary has."""
    k: int = 32
    """How many latents may be active on a token (topk: exactly; the others: on average)."""
    learning_rate: float = 2e-3
    """Adam's rate after warm-up and before decay, for activations scaled to unit mean squared distance."""
    seed: int = 0
    """Seed of the order of the text, the shuffle and the first weights."""
    dry_run: bool = False
    """Measure a few steps, say what the run would cost, and stop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_kinds(self.architecture)
        _above_zero(self, "latents", "k", "learning_rate")
        if self.seed < 0:
            raise Mistake(f"seed = {self.seed} is negative; give 0 or more.")
        if self.k > self.latents:
            raise Mistake(
                f"k = {self.k} is more than latents = {self.latents}: no more latents can be active than there are. "
                f"Lower --k or raise --latents."
            )


@dataclass(frozen=True)
class SweepConfig(LoopConfig):
    """A grid of dictionaries, every combination of the values given, all from the same stream of activations."""

    sites: str = "resid_post:15"
    """Where to train dictionaries, as KIND:LAYER,LAYER,...; a kind holds until the next one."""
    architecture: str = "batchtopk"
    """The kinds of dictionary, comma-separated: file names in training/architectures; NAME:SETTING=VALUE sets theirs."""
    latents: str = "2304"
    """How many latents, comma-separated."""
    k: str = "16,32,64"
    """How many latents may be active on a token, comma-separated."""
    learning_rate: str = "2e-3"
    """Adam's rates, comma-separated."""
    seeds: int = 1
    """Dictionaries of each kind that differ in their first weights alone; 3 or more give error bars."""
    seed: int = 0
    """Seed of the order of the text and the shuffle, and the first of the seeds."""
    dry_run: bool = False
    """Measure a few steps, say what the run would cost, and stop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_kinds(self.architecture)
        _above_zero(self, "seeds")
        if self.seed < 0:
            raise Mistake(f"seed = {self.seed} is negative; give 0 or more.")
        for name, kind in (("latents", int), ("k", int), ("learning_rate", float)):
            self.values(name, kind)

    def values(self, name: str, kind: type) -> list[float]:
        """The numbers of a comma-separated field; raises `Mistake` when one is none, or not above 0."""
        text = getattr(self, name)
        try:
            found = [kind(piece) for piece in str(text).split(",")]
        except ValueError as error:
            raise Mistake(f"{name} = {text!r} should be {kind.__name__}s separated by commas.") from error
        if min(found) <= 0:
            raise Mistake(f"{name} = {text!r} holds a value that is not above 0.")
        return found


@dataclass(frozen=True)
class ResumeConfig:
    """A training run to go on with."""

    run: str = field(metadata={"positional": True})
    """The run's id (or its beginning), as `lacewing runs` lists it."""


def _above_zero(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) <= 0:
            raise Mistake(f"{name} = {getattr(config, name)} is too small; it must be above 0.")


def _check_kinds(text: str) -> None:
    known = parts.names("training.architectures")
    for piece in text.split(","):
        if (name := piece.strip().split(":")[0]) not in known:
            raise unknown("architecture", name, known)
