"""The options of `lacewing harvest`, `lacewing explain` and `lacewing score`, and the settings their parts share.

1. `HarvestConfig`: which model, text and dictionaries, and how many tokens.
2. `ExplainConfig`: which features, and who explains them.
3. `ScoreConfig`: which explanations, and who judges them.

This file brings no torch: `lacewing --help` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from autointerp.drawing import Drawing, DrawingConfig
from autointerp.llm_config import LlmConfig, has_endpoint
from data.config import DEFAULT_MODEL, WorkersConfig
from data.errors import Mistake

__all__ = ["ExplainConfig", "HarvestConfig", "ScoreConfig", "has_endpoint"]


@dataclass(frozen=True)
class HarvestConfig(WorkersConfig):
    """Feature activations of a model's dictionaries over held-out text."""

    model: str = DEFAULT_MODEL
    """The subject model: a hub name or a local folder."""
    text: str | None = None
    """A .txt, .jsonl or .parquet file, or none for the bundled sample. Only its held-out documents are read."""
    tokens: int = 150_000
    """How many tokens to harvest, in whole documents; all held-out documents when the text has fewer."""
    context: int = 128
    """Tokens in a block given to the model, prefix included. Documents longer than a block are cut into several."""
    dictionaries: str = ""
    """Dictionary ids, separated by commas; empty means the newest for each site of the model."""
    batch: int = 32
    """Blocks in a forward pass."""
    precision: str = "auto"
    """bf16, fp32, or auto: bf16 where the processor computes in it. Dictionaries always encode in fp32."""
    seed: int = 0
    """Decides which held-out documents are read when the text has more than enough."""

    def __post_init__(self) -> None:
        _at_least("tokens", self.tokens, 1)
        _at_least("batch", self.batch, 1)
        _at_least("context", self.context, 8)
        if self.precision not in ("auto", "bf16", "fp32"):
            raise Mistake(f"precision is {self.precision!r}; it can be auto, bf16 or fp32.")


@dataclass(frozen=True)
class ExplainConfig(DrawingConfig, LlmConfig, WorkersConfig):
    """Explanations of features, from windows of the harvest's `explain` documents alone."""

    features: str = "circuit"
    """circuit (the latents of the newest circuit, most important first), circuit:ID, sample (of all latents that fire,
    drawn by the seed), sample:DICTIONARY, or DICTIONARY/LATENT,..."""
    explainer: str = "auto"
    """Files of autointerp/explainers with their settings, by commas, such as rule,llm:logits=false. auto: llm when
    OPENAI_BASE_URL or OPENAI_API_KEY is set, otherwise local."""
    limit: int = 40
    """At most this many features are explained."""
    windows: int = 16
    """Activating windows that the explainer sees for each feature."""
    sampler: str = "top,quantile"
    """Who draws those windows: files of autointerp/samplers with their settings, such as top:share=0.2,quantile."""
    centred: bool = True
    """Place each of those windows so that its peak is at three quarters of it; otherwise documents are cut into tiles."""
    judge: str = DEFAULT_MODEL
    """The language model by whose surprisal the local explainer ranks its candidates: a hub name or a local folder."""
    retry: bool = False
    """Explain again the features whose explanation failed."""
    seed: int = 0
    """Decides which windows are drawn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Drawing.of(self)  # refuses what is not known before anything runs
        _at_least("limit", self.limit, 1)
        _at_least("windows", self.windows, 4)


@dataclass(frozen=True)
class ScoreConfig(DrawingConfig, LlmConfig, WorkersConfig):
    """Scores of explanations, on windows of the harvest's `score` documents alone."""

    explanations: str = ""
    """The explain run whose explanations are scored; empty means the newest one that is done."""
    scorers: str = "auto"
    """Files of autointerp/scorers, by commas. auto: embedding and surprisal, and detection with an endpoint."""
    windows: int = 32
    """Windows judged for each feature: half activating, and as many silent ones of each kind that --negatives names."""
    sampler: str = "quantile"
    """Who draws the activating ones: files of autointerp/samplers with their settings, such as top,importance."""
    centred: bool = False
    """Place windows so that their peak (of silent ones, a random token) is at three quarters; otherwise they are tiles."""
    judge: str = DEFAULT_MODEL
    """The language model whose surprisal is the `surprisal` score: a hub name or a local folder."""
    retry: bool = False
    """Score again where scoring failed."""
    swap: str = "random"
    """Whose explanation is the control: random (any other feature's) or nearest (of the nearest features by decoder)."""
    calibrate: bool = True
    """Ask each judge about planted features first, once for a scorer and a model: its scores carry what it made of them."""
    seed: int = 0
    """Decides the windows, the swapped explanations and the bootstrap."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Drawing.of(self)  # refuses what is not known before anything runs
        _at_least("windows", self.windows, 10)
        if self.swap not in ("random", "nearest"):
            raise Mistake(f"swap is {self.swap!r}; it can be random or nearest.")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise Mistake(f"{name} is {value}; it must be at least {least}.")
