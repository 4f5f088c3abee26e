"""What `lacewing bench-autointerp` may be told; no torch here, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autointerp.drawing import Drawing, DrawingConfig
from autointerp.llm_config import LlmConfig, has_endpoint
from data.config import DEFAULT_MODEL
from data.errors import Mistake


@dataclass(frozen=True)
class BenchAutointerpConfig(DrawingConfig, LlmConfig):
    """Explainers and scorers on features whose rules are known, planted in text: what each can be trusted with."""

    scorers: str = "auto"
    """Files of autointerp/scorers with their settings, by commas. auto: embedding and surprisal, and detection, fuzzing and
    simulation with an endpoint."""
    explainers: str = "auto"
    """Files of autointerp/explainers likewise. auto: token_lift, rule and local, and llm with an endpoint."""
    kinds: str = ""
    """Files of autointerp/ground/kinds, by commas; empty means all."""
    features: int = 6
    """Planted features of each kind at the most."""
    windows: int = 32
    """Windows judged for each feature: half activating, and as many silent ones of each kind that --negatives names."""
    negatives: str = "random,neighbour"
    """Who draws the silent windows. Those of neighbours are windows of the features that a label could be taken for."""
    tokens: int = 100_000
    """Tokens of text, in whole held-out documents, that the features are planted in."""
    text: str | None = None
    """A .txt, .jsonl or .parquet file, or none for the bundled sample. Only its held-out documents are read."""
    noise: float = 0.05
    """Share of a feature's firings that are missed, and share of them that are added where its rule does not hold."""
    judge: str = DEFAULT_MODEL
    """The language model behind the `surprisal` scorer and the `local` explainer: a hub name or a local folder."""
    quick: bool = False
    """A first look: one feature of each kind, 10 windows, 30,000 tokens, and no `local` explainer unless named."""
    others: bool = True
    """Also the functions with corrupted intervals, and the puzzles of the package automated-interpretability if it is
    installed."""
    seed: int = 0
    """Decides the documents, the noise, the windows and the foreign labels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Drawing(self.context, negatives=self.negatives)
        for name, least in (("features", 1), ("windows", 10), ("tokens", 1)):
            if (value := getattr(self, name)) < least:
                raise Mistake(f"{name} is {value}; it must be at least {least}.")
        if not 0 <= self.noise <= 0.5:
            raise Mistake(f"noise is {self.noise}; it can be from 0 (none) to 0.5 (half of the firings are missed).")

    @property
    def effective(self) -> BenchAutointerpConfig:
        """The same with what `quick` and `auto` stand for put in."""
        endpoint = has_endpoint()
        scorers = "embedding,surprisal" + (",detection,fuzzing,simulation" if endpoint else "")
        explainers = "token_lift,rule" + ("" if self.quick else ",local") + (",llm" if endpoint else "")
        named = replace(
            self,
            scorers=scorers if self.scorers == "auto" else self.scorers,
            explainers=explainers if self.explainers == "auto" else self.explainers,
        )
        if not self.quick:
            return named
        return replace(named, features=1, windows=min(self.windows, 10), tokens=min(self.tokens, 30_000))
