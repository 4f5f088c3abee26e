"""Importing: a dictionary trained elsewhere is proved, saved, registered and evaluated.

1. `training.fetching` finds its folder, a part of `training.formats` recognises and reads it.
2. It becomes sae-lens' inference object, saved in the workspace under its content digest.
3. `prove` compares what was saved, loaded again, with the format's own formula in float64, on probes of all sizes and,
   when the model can be had, on its activations. If they differ by more than rounding, nothing is registered.
4. With the model it is evaluated on held-out text; without, its model is `unknown`. One that is registered already
   keeps its row.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from data import parts, runs
from data.config import DEFAULT_MODEL
from data.errors import Mistake
from data.models import Subject
from data.progress import shown
from data.store import Workspace, append
from data.words import Site
from training.dictionary import Dictionary, class_of, folder_of, open_saelens, places, save
from training.exchange_config import ImportConfig
from training.fetching import fetched
from training.formats._imported import Imported, Reading
from training.trial import evaluate, examples

FORMATS = "training.formats"
PROBES = 64
SMALLEST, GREATEST = 0.01, 1000.0
"""Standard deviations between which the probes lie: residual streams have some 0.1 to 100."""
UNKNOWN = "unknown"
"""Stands for the digest of a model that could not be had."""


@dataclass(frozen=True)
class Arrival:
    """A dictionary on its way in: how it was saved, what it is, where it belongs."""

    format: str
    imported: Imported
    reads: tuple[Site, ...]
    writes: tuple[Site, ...]
    subject: Subject | None

    @property
    def model(self) -> str:
        """The digest of its model."""
        return self.subject.digest if self.subject else self.imported.metadata.get("model_digest") or UNKNOWN


def import_dictionary(workspace: Workspace, config: ImportConfig) -> str:
    """`lacewing import`: brings `config.source` in and returns its digest; raises `Mistake` when it cannot be proved."""
    with fetched(config.source) as folder:
        arrival = _arrive(folder, config)
        inputs = {"model": arrival.model}
        with runs.start(workspace, "import", config, seed=config.seed, inputs=inputs) as run, shown(run) as phase:
            with phase("proving"):
                dictionary = _save(workspace, arrival, config)
            if not _registered(workspace, dictionary.digest):  # a row that is there knows more: what trained it
                with phase("evaluating"):
                    row = _row(dictionary, arrival, config) | {"run": run.run}
                with workspace.write() as db:
                    append(db, "dictionaries", [row])
            run.summary |= {"dictionaries": [dictionary.digest]}
    return dictionary.digest


def _arrive(folder: Path, config: ImportConfig) -> Arrival:
    name = format_of(folder, config.format)
    imported = parts.load(FORMATS, name).load(folder)
    reads = (Site.parse(config.site),) if config.site else imported.reads
    writes = (Site.parse(config.writes),) if config.writes else imported.writes
    if "d_out" not in imported.fields and not config.writes:
        writes = reads
    if not reads or not writes:
        missing = "--site KIND:LAYER" if not reads else "--writes KIND:LAYER"
        raise Mistake(f"{str(folder)!r} does not say where in the model it belongs. Say it with {missing}.")
    return Arrival(name, imported, reads, writes, _subject(imported, reads, writes, config))


def format_of(folder: Path, named: str | None) -> str:
    """The format of `folder`: the one named, or the one whose files it holds. Raises `Mistake` when there is none."""
    known = {name: parts.load(FORMATS, name) for name in ([named] if named else parts.names(FORMATS))}
    for name, part in known.items():
        if part.recognises(folder):
            return name
    inside = sorted({path.parent.name for config in ("cfg.json", "config.json") for path in folder.glob(f"*/{config}")})
    which = f" It holds the folders {_listed(inside)}: name one of them, as SOURCE/{inside[0]}." if inside else ""
    looks = "; ".join(f"{name}: {part.LOOKS_LIKE}" for name, part in known.items())
    raise Mistake(f"{str(folder)!r} holds no dictionary that is known. Files looked for are {looks}.{which}")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _subject(
    imported: Imported, reads: tuple[Site, ...], writes: tuple[Site, ...], config: ImportConfig
) -> Subject | None:
    """The model, if one is named that can be had; one that the files name is not downloaded for this."""
    name = config.model or imported.metadata.get("model_name")
    if not name or not (config.model or at_hand(name)):
        return None
    subject = Subject.open(name)
    expected = imported.metadata.get("model_digest")
    if config.model and expected not in (None, subject.digest):
        raise Mistake(
            f"{config.source!r} was trained on the model with digest {expected}, and {name} has {subject.digest}. "
            f"Name the right one with --model."
        )
    width = imported.fields["d_in"]
    for wide, sites in ((width, reads), (imported.fields.get("d_out", width), writes)):
        if wide != len(sites) * subject.d_model:
            raise Mistake(
                f"{config.source!r} is for activations of width {wide}, and {name} has {len(sites) * subject.d_model} at "
                f"{', '.join(map(str, sites))}. Name the right model with --model, or the right site with --site."
            )
    for site in reads + writes:
        subject.check(site)
    return subject if expected in (None, subject.digest) else None


def at_hand(name: str) -> bool:
    """Whether the model `name` can be opened without a download."""
    if name == DEFAULT_MODEL or Path(name).expanduser().exists():
        return True
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    weights = ("model.safetensors", "model.safetensors.index.json")
    with contextlib.suppress(HFValidationError):
        return any(isinstance(try_to_load_from_cache(name, file), str) for file in weights)
    return False


def _save(workspace: Workspace, arrival: Arrival, config: ImportConfig) -> Dictionary:
    """Saves the dictionary and loads it again; if that does not compute what its format says, it is removed."""
    digest = save(workspace, *_made(arrival))
    try:
        dictionary = _loaded(workspace, digest, arrival, config)
        for x in _probes(arrival, dictionary, config):
            prove(dictionary.reconstruct, arrival.imported.formula, x, what=f"{config.source!r}")
        _must_fire(dictionary, config)
    except Mistake:
        if not _registered(workspace, digest):
            shutil.rmtree(folder_of(workspace, digest))
        raise
    return dictionary


def _made(arrival: Arrival) -> tuple[Any, dict[str, Any]]:
    """sae-lens' inference object, and what must be added to its metadata: nothing that they say already."""
    imported = arrival.imported
    kind, config = class_of(imported.architecture)
    sae = kind(config(**imported.fields))
    sae.load_state_dict({name: tensor.contiguous() for name, tensor in imported.weights.items()})
    metadata = dict(imported.metadata)
    told = places({**imported.fields, "metadata": metadata})
    if told != (arrival.reads, arrival.writes):
        metadata |= {"reads": [str(site) for site in arrival.reads], "writes": [str(site) for site in arrival.writes]}
        metadata |= {"hook_name": arrival.reads[0].hook, "hook_name_out": arrival.writes[0].hook}
    if arrival.subject:
        metadata |= {"model_name": arrival.subject.name} if "model_name" not in metadata else {}
        metadata |= {"model_digest": arrival.subject.digest}
    return sae, metadata


def _loaded(workspace: Workspace, digest: str, arrival: Arrival, config: ImportConfig) -> Dictionary:
    sae = open_saelens(folder_of(workspace, digest)).eval().requires_grad_(False)
    site = arrival.reads[0]
    name = config.name or f"{site} {arrival.imported.architecture} {sae.cfg.d_sae}"
    return Dictionary(
        digest, name, arrival.model, site, sae.cfg.d_sae, sae.cfg.d_in, sae, arrival.reads, arrival.writes
    )


def _registered(workspace: Workspace, digest: str) -> bool:
    with workspace.read() as db:
        return bool(db.execute("select 1 from dictionaries where dictionary = ?", [digest]).fetchall())


def probes(sae: Any, seed: int) -> Float[Tensor, "probes d_in"]:
    """Gaussian probes of all sizes around what the dictionary says when nothing is active."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.logspace(math.log10(SMALLEST), math.log10(GREATEST), PROBES)[:, None]
    drawn = size * torch.randn(PROBES, sae.cfg.d_in, generator=generator)
    return drawn + sae.b_dec if len(sae.b_dec) == sae.cfg.d_in else drawn


def _probes(arrival: Arrival, dictionary: Dictionary, config: ImportConfig) -> Iterator[Float[Tensor, "tokens d_in"]]:
    yield probes(dictionary.sae, config.seed)
    if arrival.subject:
        yield examples(arrival.subject, dictionary, config.text)


def prove(
    made: Callable[[Tensor], Tensor],
    formula: Callable[[Tensor], Reading],
    x: Float[Tensor, "tokens d_in"],
    *,
    what: str,
) -> None:
    """Raises `Mistake` unless `made`, in fp32, gives what `formula` gives at every row of `x`, but for rounding."""
    with torch.no_grad():
        ours, theirs = made(x), formula(x)
    off = (ours.double() - theirs.value).norm(dim=-1)
    wrong = ~(off <= theirs.bound)  # so that NaN is wrong
    if wrong.any():
        worst = int((off / theirs.bound).nan_to_num(math.inf).argmax())
        raise Mistake(
            f"{what} does not give what its format's formula gives: on {int(wrong.sum())} of {len(x)} probes they are "
            f"further apart than rounding explains (by {float(off[worst]):.3g}, where {float(theirs.bound[worst]):.3g} "
            f"is allowed). Nothing was registered."
        )


def _must_fire(dictionary: Dictionary, config: ImportConfig) -> None:
    """A dictionary that is silent on every probe proves nothing."""
    if not (dictionary.encode(probes(dictionary.sae, config.seed)) != 0).any():
        raise Mistake(f"No latent of {config.source!r} fires on any probe: nothing can be proved of it.")


def _row(dictionary: Dictionary, arrival: Arrival, config: ImportConfig) -> dict[str, Any]:
    metrics: dict[str, Any] = {"imported_from": config.source, "format": arrival.format, "k": dictionary.k}
    metrics |= {"model_name": dictionary.noted("model_name")}
    if arrival.subject:
        found = evaluate(arrival.subject, dictionary, config.text, tokens=config.tokens, seed=config.seed)
        metrics |= found | {"evaluated": time.time()}
    return {
        "dictionary": dictionary.digest, "name": dictionary.name, "model": dictionary.model,
        "site": str(dictionary.site), "layer": dictionary.site.layer, "latents": dictionary.latents,
        "architecture": arrival.imported.architecture, "metrics": metrics,
    }  # fmt: skip
