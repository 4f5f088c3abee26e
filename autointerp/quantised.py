"""A GGUF model written in another form of weights, which llama.cpp may read quicker: once, into the cache.

1. Every matrix is de-quantised and written in the form wanted; vectors stay fp32. Nothing is won back that an earlier
   quantisation lost, but a finer form loses next to nothing more, and each form has machine code of its own.
2. All else in the file (tokenizer, template, sizes) is copied. The file is written aside and renamed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from autointerp.serve_config import FORMS
from data.errors import Mistake
from data.weights import cache_folder
from data.words import digest_files


def written(path: Path, form: str) -> Path:
    """The model of `path` with its weights in `form`. Raises `Mistake` for a file that is no whole model."""
    target = cache_folder() / f"{path.stem}-{digest_files([path])}.{form.upper()}.gguf"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        _write(path, aside, form)
        os.replace(aside, target)
    except (ValueError, KeyError, IndexError, NotImplementedError) as error:
        raise Mistake(
            f"The weights of {str(path)!r} cannot be written as {form} ({type(error).__name__}: {error}). The file may be "
            "truncated; serve it as it is, without --weights."
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
    return target


def _write(path: Path, target: Path, form: str) -> None:
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, quants

    kind = GGMLQuantizationType[form.upper()]
    source = GGUFReader(path)
    writer = GGUFWriter(target, source.fields["general.architecture"].contents())
    for name, field in source.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value: Any = FORMS[form] if name == "general.file_type" else field.contents()
        writer.add_key_value(name, value, field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for tensor in source.tensors:
        values = quants.dequantize(tensor.data, tensor.tensor_type).astype("float32", copy=False)
        own = kind if values.ndim == 2 and tensor.tensor_type != GGMLQuantizationType.F32 else GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, quants.quantize(values, own), raw_dtype=own)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
