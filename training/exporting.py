"""Exporting: a dictionary is written out for other tools, read back in, and compared.

The copy's own formula (a part of `training.formats`, in float64) and the dictionary of the workspace must agree on
probes of all sizes, as for imports; otherwise there is no copy. The folder appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from data import parts
from data.errors import Mistake
from data.store import Workspace
from training.dictionary import folder_of, load_dictionary
from training.exchange_config import ExportConfig
from training.importing import FORMATS, probes, prove


def export_dictionary(workspace: Workspace, config: ExportConfig) -> str:
    """`lacewing export`: writes a dictionary to a new folder, whose path is returned; raises `Mistake` if it cannot."""
    target = Path(config.folder).expanduser()
    if target.exists():
        raise Mistake(f"{config.folder!r} exists already; nothing is overwritten. Name a folder that does not exist.")
    dictionary = load_dictionary(workspace, config.dictionary)
    part = parts.load(FORMATS, config.format)
    if not hasattr(part, "save"):
        able = [name for name in parts.names(FORMATS) if hasattr(parts.load(FORMATS, name), "save")]
        raise Mistake(f"The format {config.format!r} can be read but not written; choose one of {', '.join(able)}.")
    aside = target.parent / f".{target.name}.{os.getpid()}"
    try:
        part.save(folder_of(workspace, config.dictionary), aside)
        x = probes(dictionary.sae, config.seed)
        prove(dictionary.reconstruct, part.load(aside).formula, x, what=f"The copy of {config.dictionary}")
        os.rename(aside, target)
    except OSError as error:
        raise Mistake(f"{config.folder!r} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return str(target)
