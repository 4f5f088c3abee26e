"""Parts: one file each, named by its file.

1. `names` lists the files of a folder without importing any of them.
2. `load` imports the one that is asked for; an unknown name is answered with the nearest known one.

Architectures, tasks, methods, explainers, scorers and pages are all found this way: to add one, add a file.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from data.errors import unknown


def names(package: str) -> list[str]:
    """The names of the parts in `package` (dotted, such as `circuits.methods`), sorted; imports none of them."""
    folder = importlib.import_module(package)
    return sorted(m.name for m in pkgutil.iter_modules(folder.__path__) if not m.name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """The module of the part `name`; raises `Mistake` when `package` has no such file."""
    if name not in names(package):
        raise unknown(package.rsplit(".", 1)[-1].removesuffix("s"), name, names(package))
    return importlib.import_module(f"{package}.{name}")
