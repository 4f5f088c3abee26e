"""A workspace over the tiny model with two dictionaries whose features are recorded, and engines that tests may ask."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch

from dashboard.engine.place import Place, place
from dashboard.engine.server import Engine, Job, Listener
from data import parts, runs
from data.models import Subject
from data.store import Workspace, append
from data.words import Site

LATENTS = 48
TEXT = "The keys near the old cabinet are here."


def make(folder: Path, subject: Subject) -> tuple[Workspace, dict[Site, str]]:
    """The workspace, and the digest of the dictionary at each block."""
    from training.dictionary import save

    workspace = Workspace.open(folder, create=True)
    digests = {}
    with runs.start(workspace, "train", {"model": subject.name, "seed": 0}) as run:
        for site in (Site(0), Site(1)):
            metadata = {"hook_name": site.hook, "model_digest": subject.digest}
            digests[site] = save(workspace, _sae(subject, site), metadata)
        with workspace.write() as db:
            append(db, "dictionaries", [_dictionary(d, site, subject, run.run) for site, d in digests.items()])
            append(db, "features", [_feature(d, latent) for d in digests.values() for latent in range(LATENTS)])
    return workspace, digests


def _sae(subject: Subject, site: Site) -> Any:
    """Random directions; a threshold that about a tenth of the latents pass."""
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    torch.manual_seed(site.layer)
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=subject.d_model, d_sae=LATENTS))
    sae.W_dec.data.normal_()
    sae.W_dec.data /= sae.W_dec.data.norm(dim=-1, keepdim=True)
    sae.W_enc.data.copy_(sae.W_dec.data.T)
    sae.b_enc.data.zero_()
    value = subject.read(torch.tensor([[*subject.prefix, *subject.tokenize(TEXT)]]), [site])[site][0, 1:]
    sae.threshold.data.fill_(float((value @ sae.W_enc.data).quantile(0.9)))
    return sae


def _dictionary(digest: str, site: Site, subject: Subject, run: str) -> dict[str, Any]:
    return {
        "dictionary": digest, "name": f"random {site}", "model": subject.digest, "site": str(site), "layer": site.layer,
        "architecture": "jumprelu", "latents": LATENTS, "run": run, "metrics": {},
    }  # fmt: skip


def _feature(digest: str, latent: int) -> dict[str, Any]:
    dense = latent % 8 == 3
    return {
        "dictionary": digest, "latent": latent, "density": 0.5 if dense else 0.01, "max_activation": 4.0,
        "statistics": {"firings": 10, "harvest": "none"},
    }  # fmt: skip


@contextmanager
def runtime() -> Iterator[Path]:
    """A folder for sockets whose name is short."""
    folder = Path(tempfile.mkdtemp(prefix="lw", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class FakeRoom:
    """Stands for the room: an operation does what its request says; nothing is loaded."""

    def do(self, job: Job) -> dict[str, Any]:
        return parts.load("dashboard.engine.operations", job.operation).run(job, **job.request)


@contextmanager
def listening(workspace: Workspace, model: str, room: Any, idle: float = 60.0) -> Iterator[Engine]:
    """An engine in this process, with `room` in place of the real one."""
    where: Place = place(workspace.folder, model)
    where.clear()
    engine = Engine(workspace, model, where, idle, where.new_token())
    engine._room = lambda job: cast(Any, room)
    threading.Thread(target=engine.work, daemon=True).start()
    listener = Listener(engine)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield engine
    finally:
        listener.shutdown()
        listener.server_close()
        where.clear()
