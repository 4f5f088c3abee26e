"""What explainers and scorers are given: the settings of the run and, opened when first used, its three instruments.

1. `likelihood`: log-probabilities under a local language model (torch, in this process).
2. `embedder`: unit sentence vectors from MiniLM (torch, in this process).
3. `client`: an OpenAI-compatible endpoint, from the environment.

A part takes what it needs; what nobody asks for is never loaded, so that a laptop beside a remote endpoint needs none
of the first two.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from autointerp.llm_config import LlmConfig
from autointerp.memo import Memo, Vectors
from autointerp.watch import Advance
from data.runs import Run
from data.store import Workspace

if TYPE_CHECKING:
    from autointerp.likelihood import Likelihood
    from autointerp.llm import Client


def _ignore(steps: int = 1) -> None:
    """Nobody watches."""


@dataclass
class Tools:
    """Settings and instruments of one explain or score run."""

    workspace: Workspace
    seed: int = 0
    judge: str = ""
    """The model of `likelihood`: a hub name or a local folder."""
    llm: LlmConfig = field(default_factory=LlmConfig)
    """How `client` asks."""
    advance: Advance = _ignore
    """Called by parts as features are done."""
    run: Run | None = None
    """The run that asks, for the ledger."""
    publishes: bool = True
    """Whether the client copies its ledger to the store: one process of a run does it for all."""
    _others: dict[str, Client] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, run: Run, config: Any) -> Tools:
        """The tools of a run whose config is an `LlmConfig` with a `seed` and a `judge`."""
        return cls(run.workspace, config.seed, config.judge, config, run=run)

    def __enter__(self) -> Tools:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the client's connections, if it was opened, and writes what the local models' caches have new."""
        for name in ("likelihood", "embedder"):
            if opened := self.__dict__.get(name):
                opened.memo.flush()
                if self.run:
                    computed = {name: {"asked": opened.memo.asked, "computed": opened.memo.computed}}
                    self.run.summary["local"] = self.run.summary.get("local", {}) | computed
        for other in self._others.values():
            other.close()
        self._others.clear()
        if client := self.__dict__.pop("client", None):
            client.close()
            if self.run:
                self.run.summary["llm"] = client.summary

    @functools.cached_property
    def likelihood(self) -> Likelihood:
        from autointerp.likelihood import Likelihood

        return Likelihood.open(self.judge, self.workspace)

    @functools.cached_property
    def embedder(self) -> Vectors:
        from autointerp.embedder import NAME, WIDTH, shared

        return Vectors(Memo(self.workspace, NAME, WIDTH), lambda texts: shared()(texts))

    @functools.cached_property
    def client(self) -> Client:
        from autointerp.llm import Client

        return Client.open(self.workspace, self.llm, self.run.run if self.run else "", publishes=self.publishes)

    def asking(self, model: str) -> Client:
        """A client of another model of the same endpoint than the run's; both spend from one purse."""
        from autointerp.llm import Client

        if model not in self._others:
            config = replace(self.llm, llm_model=model)
            made = Client.open(self.workspace, config, self.run.run if self.run else "", publishes=False)
            made.purse, made.forecast = self.client.purse, self.client.forecast
            self._others[model] = made
        return self._others[model]
