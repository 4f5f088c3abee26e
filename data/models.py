"""Subject models: opened, read and edited at named sites.

1. `data.weights` finds the model's files, downloads or converts them.
2. `Subject.open` opens them as a plain Hugging Face module, whose fast attention harvesting and circuits use. Which
   module is a block, its attention, its MLP is taken from transformer-lens' adapter for the architecture, and sites bear
   transformer-lens' hook names; `Subject.bridge` is the same model as a `TransformerBridge` (the two agree in a test).
3. `Subject.run` runs it: `edits` replace the value at a site, `stop` ends the pass after the deepest site wanted,
   `start` begins it after a site whose value is given (blocks above it are skipped, not recomputed).
4. The prefix (the token in front of every text) belongs to the model: small models are sensitive to it. Chat models
   whose BOS opens a chat turn take their end-of-text token instead: SmolLM2 gets `<|endoftext|>`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from data import attention, hooks, memory
from data.attention import Attended
from data.config import DEFAULT_MODEL
from data.crew import Crew
from data.errors import Mistake, unknown
from data.hooks import Edit
from data.weights import locate, quiet
from data.words import Site, digest_files

SUPPORTED = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_in", "mlp_out")
"""The sites as wide as the stream, at which dictionaries are trained."""
INNER = {"attn_z": "attn.o", "mlp_post": "mlp.out"}
"""The sites inside a part, and the projection whose input they are."""
READABLE = (*SUPPORTED, *INNER, *attention.KINDS)
"""Every kind of site of a subject."""
NORMS = ("ln1", "ln1_post", "ln2", "ln2_post")
"""The roles of a block's norms, before and after its attention and its MLP."""


@runtime_checkable
class Model(Protocol):
    """What the circuits and harvesting rooms need of a model; `Subject` is one, the tests' Tracr models are others."""

    digest: str
    name: str
    layers: int
    d_model: int
    prefix: tuple[int, ...]

    @property
    def heads(self) -> int: ...
    def width(self, site: Site) -> int: ...
    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        *,
        edits: Mapping[Site, Edit] | None = None,
        start: tuple[Site, Tensor] | None = None,
        stop: Site | None = None,
        keep: Int[Tensor, " kept"] | None = None,
    ) -> Float[Tensor, "batch kept vocab"] | None: ...


TOGETHER = 8
"""Rows of a pass that one thread takes: 8 x 128 tokens run within 3 % of the speed of twice as many."""


class _Stop(Exception):
    """Ends a forward pass once the deepest site wanted has been seen."""


@dataclass
class Subject:
    """A language model under study. `layers` blocks, residual width `d_model`, `prefix` tokens before every text."""

    name: str
    folder: Path
    digest: str
    model: Any
    tokenizer: Any
    layers: int
    d_model: int
    prefix: tuple[int, ...]
    modules: Mapping[str, str]
    """Module paths by role: blocks, the final norm, and within a block attn, mlp, attn.o, mlp.out, its norms; the MLP
    again as `gated` if it is, and as `resid_mid` the norm that it reads through, if attention's output is there."""
    _blocks: list[nn.Module] = field(default_factory=list, repr=False)
    _attended: dict[int, Attended] = field(default_factory=dict, repr=False)
    _held: list[Site] = field(default_factory=list, repr=False)

    @classmethod
    def open(cls, name: str = DEFAULT_MODEL, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Subject:
        """The model called `name` (a local folder or a hub name). Raises `Mistake` when it cannot be had or read."""
        folder = locate(name)
        model, tokenizer = _load(folder, dtype)
        model.to(device).eval().requires_grad_(False)
        model.get_output_embeddings().register_forward_pre_hook(_contiguous)
        modules = _module_paths(folder, model)
        blocks = list(model.get_submodule(modules["blocks"]))
        content = digest_files([folder / "config.json", *sorted(folder.glob("*.safetensors"))])
        width = model.config.get_text_config().hidden_size
        return cls(
            name, folder, content, model, tokenizer, len(blocks), width, _prefix(folder, tokenizer), modules, blocks
        )

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @functools.cached_property
    def bridge(self) -> Any:
        """The same weights as transformer-lens' `TransformerBridge`, in the same precision (a second copy in memory)."""
        from transformer_lens.model_bridge import TransformerBridge

        dtype = next(self.model.parameters()).dtype
        return TransformerBridge.boot_transformers(str(self.folder), device=str(self.device), dtype=dtype)

    def tokenize(self, text: str) -> list[int]:
        """The ids of `text`, with neither prefix nor special tokens."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def spell(self, tokens: Sequence[int]) -> list[str]:
        """Each token as readable text (untrusted: escape it wherever it is shown)."""
        return [self.tokenizer.decode([token]) for token in tokens]

    def check(self, site: Site, kinds: Sequence[str] = SUPPORTED) -> Site:
        """`site`, if this model has it and it is one of `kinds`; raises `Mistake` otherwise."""
        if site.kind not in kinds:
            raise unknown("readable site", site.kind, kinds)
        if site.layer >= self.layers:
            raise Mistake(f"{self.name} has {self.layers} blocks (0 to {self.layers - 1}); there is no site {site}.")
        return site

    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        *,
        edits: Mapping[Site, Edit] | None = None,
        start: tuple[Site, Tensor] | None = None,
        stop: Site | None = None,
        keep: Int[Tensor, " kept"] | None = None,
    ) -> Float[Tensor, "batch kept vocab"] | None:
        """Logits at every position (or only those to `keep`), or None when `stop` ended the pass.

        With `start = (site, value)` (residual, between blocks), blocks above it are skipped and `value` flows on.
        Positions past a text's end are to its right and change nothing before them: attention is causal.
        """
        with contextlib.ExitStack() as stack:
            if start:
                stack.enter_context(self._skip(*start))
            for site, edit in sorted((edits or {}).items()):
                stack.enter_context(self.hook(site, edit))
            if stop:
                stack.enter_context(self.hook(stop, _raise_stop))
            kept = {} if keep is None else {"logits_to_keep": keep.to(self.device)}
            try:
                return self.model(input_ids=tokens.to(self.device), use_cache=False, **kept).logits
            except _Stop:
                return None

    def speaking(self, words: Int[Tensor, " words"]) -> contextlib.AbstractContextManager[None]:
        """In this block the logits of a pass are of these tokens alone [batch kept words].

        All others cost most of a pass that is short and begins late.
        """
        return hooks.narrowed(self.model.get_output_embeddings(), words.to(self.device))

    def read(self, tokens: Int[Tensor, "batch pos"], sites: Sequence[Site]) -> dict[Site, Tensor]:
        """The values [batch, pos, d_model] at `sites`, from one pass that stops at the deepest.

        On a CPU the rows go to as many threads as torch may use, `TOGETHER` at a time. Two idle cores are as fast so as
        when they share each operation; on a busy machine, where a shared operation waits for its slower half, two to
        three times as fast (LOG.md). What comes out is the same bit for bit with any number of threads.
        """
        # an edit that is held belongs to these modules: other threads, which have their own, would not make it
        if self.device.type != "cpu" or len(tokens) <= TOGETHER or self._held:
            return self._read(tokens, sites)
        read = functools.partial(self._crew.do, lambda subject, rows: subject._read(rows, sites))
        parts = read(tokens.split(TOGETHER))
        return {site: torch.cat([part[site] for part in parts]) for site in sites}

    def _read(self, tokens: Int[Tensor, "batch pos"], sites: Sequence[Site]) -> dict[Site, Tensor]:
        values: dict[Site, Tensor] = {}
        self.run(tokens, edits={s: functools.partial(_keep, values, s) for s in sites}, stop=max(sites))
        return values

    @functools.cached_property
    def _crew(self) -> Crew[Subject]:
        return Crew(self, _twin)

    def release(self) -> None:
        """Frees the weights, though callers hold this subject; it cannot be used afterwards."""
        self.__dict__.pop("_crew", None)
        self.model.to("meta")
        memory.give_back()

    def width(self, site: Site) -> int:
        """How many coordinates the value at `site` has: the stream's, or what its projection takes."""
        if self.check(site, READABLE).kind in attention.KINDS:
            one = self._attention_of(site.layer)
            return attention.side_by_side((one.q, one.k, one.v)[attention.KINDS.index(site.kind)]).shape[-1]
        if site.kind not in INNER:
            return self.d_model
        return self.part(site.layer, INNER[site.kind]).get_parameter("weight").numel() // self.d_model

    @property
    def heads(self) -> int:
        """Query heads of a block's attention."""
        return self.model.config.get_text_config().num_attention_heads

    @property
    def kv_heads(self) -> int:
        """Heads of a block's keys and values, which several query heads may share."""
        return self._attention_of(0).k.shape[1]

    def attention(self, tokens: Int[Tensor, "batch pos"], layers: Sequence[int]) -> dict[int, Attended]:
        """What attention in the blocks `layers` is computed from, by one pass that ends in the deepest."""
        found: dict[int, Attended] = {}
        with contextlib.ExitStack() as stack, torch.no_grad():
            for layer in layers:
                look = functools.partial(found.__setitem__, layer)
                stack.enter_context(attention.seen(self.part(layer, "attn"), look))
            self.run(tokens, stop=Site(max(layers), "attn_out"))
        if missing := [layer for layer in layers if layer not in found]:
            raise Mistake(
                f"The attention of {self.name} in block {missing[0]} is not called by its name in transformers, so "
                f"its queries, keys and values cannot be reached; heads at attn_z:{missing[0]} can."
            )
        return found

    def _attention_of(self, layer: int) -> Attended:
        """Attention in one block over a single token, for its shapes."""
        if layer not in self._attended:
            self._attended.update(self.attention(torch.zeros(1, 1, dtype=torch.long), [layer]))
        return self._attended[layer]

    def unembed(self, value: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows vocab"]:
        """What `value` would say if it were the last residual stream: final norm, then unembedding."""
        norm = self.model.get_submodule(self.modules["norm"]) if "norm" in self.modules else nn.Identity()
        head = self.model.get_output_embeddings()
        return head(norm(value.to(self.device, next(head.parameters()).dtype))).float()

    @contextlib.contextmanager
    def hook(self, site: Site, edit: Edit) -> Iterator[None]:
        """While it lasts, every pass makes `edit` at `site`, before the edits that the pass itself is given."""
        self._held.append(site)
        try:
            with self._hooked(self.check(site, READABLE), edit):
                yield
        finally:
            self._held.remove(site)

    @contextlib.contextmanager
    def _hooked(self, site: Site, edit: Edit) -> Iterator[None]:
        layer = site.layer
        if site.kind in attention.KINDS:
            with attention.edited(self.part(layer, "attn"), site.kind, edit):
                yield
            return
        entered = {"resid_pre": "", "mlp_in": "mlp"} | INNER
        if site.kind == "resid_mid":
            handles = hooks.between(self.part(layer, "resid_mid"), self.part(layer, ""), edit)
        elif site.kind in entered:
            handles = [hooks.before(self.part(layer, entered[site.kind]), edit)]
        else:
            handles = [
                hooks.after(self.part(layer, "" if site.kind == "resid_post" else site.kind[: -len("_out")]), edit)
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def part(self, layer: int, role: str) -> nn.Module:
        """The module of a block that has `role` (see `modules`), the block itself for none. Raises `Mistake` without."""
        if role and role not in self.modules:
            raise Mistake(f"{self.name}'s blocks have no {role} of their own; choose resid_pre or resid_post.")
        return self._blocks[layer].get_submodule(self.modules[role] if role else "")

    @contextlib.contextmanager
    def _skip(self, site: Site, value: Tensor) -> Iterator[None]:
        """Blocks above `site` hand their input on, and `value` is put in its place."""
        if not site.residual:
            raise Mistake(f"A pass can begin at a resid_pre or resid_post site, not at {site}.")
        skipped = self._blocks[: site.layer + (site.kind == "resid_post")]
        identity = _pass_tuple if skipped and self._returns_tuple else _pass
        for block in skipped:
            block.forward = identity
        try:
            with self.hook(site, lambda _: value):
                yield
        finally:
            for block in skipped:
                del block.forward

    @functools.cached_property
    def _returns_tuple(self) -> bool:
        """Whether this architecture's blocks return a tuple (older ones of transformers do)."""
        kinds: list[bool] = []
        handle = self._blocks[0].register_forward_hook(lambda _m, _i, out: kinds.append(isinstance(out, tuple)))
        with torch.no_grad(), handle:
            self.run(torch.zeros(1, 1, dtype=torch.long), stop=Site(0))
        return kinds[0]


def _contiguous(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Where the kept states are a slice they are a strided view, for which torch multiplies with a copy of the unembedding
    per row: four fifths of a short pass. A contiguous copy of them is multiplied once."""
    return (args[0].contiguous(), *args[1:])


def _twin(subject: Subject) -> Subject:
    """A subject with modules of its own that hold the very same tensors."""
    tensors = itertools.chain(subject.model.parameters(), subject.model.buffers())
    model = copy.deepcopy(subject.model, {id(tensor): tensor for tensor in tensors})
    return replace(subject, model=model, _blocks=list(model.get_submodule(subject.modules["blocks"])), _held=[])


def _pass(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden_states


def _pass_tuple(hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
    return (hidden_states,)


def _raise_stop(_: Tensor) -> None:
    raise _Stop


def _keep(values: dict[Site, Tensor], site: Site, value: Tensor) -> None:
    values[site] = value


def _load(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not any(folder.glob("*.safetensors")):
        raise Mistake(
            f"The model folder {str(folder)!r} has no .safetensors file; other weight formats are not loaded."
        )
    try:
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Mistake(f"The model in {str(folder)!r} cannot be opened: {reason}") from error
    return model, tokenizer


def _module_paths(folder: Path, model: Any) -> dict[str, str]:
    """Where blocks, attention and MLP are, from transformer-lens' adapter for this architecture."""
    from transformer_lens.model_bridge import TransformerBridge

    try:
        bare = TransformerBridge.boot_transformers(str(folder), load_weights=False, device="cpu")
    except (ValueError, KeyError, NotImplementedError) as error:
        raise Mistake(
            f"transformer-lens has no adapter for the architecture {model.config.architectures} in {str(folder)!r}."
        ) from error
    mapping = bare.adapter.component_mapping or {}
    blocks = mapping["blocks"]
    inner = {role: part.name for role, part in blocks.submodules.items() if role in ("attn", "mlp", *NORMS)}
    if getattr(bare.cfg, "gated_mlp", False) and "mlp" in inner:
        inner["gated"] = inner["mlp"]
    if "ln2" in inner and not getattr(bare.cfg, "parallel_attn_mlp", False):
        inner["resid_mid"] = inner["ln2"]
    for place in INNER.values():
        part, _, last = place.partition(".")
        if part in inner and (projection := (blocks.submodules[part].submodules or {}).get(last)):
            inner[place] = f"{inner[part]}.{projection.name}"
    outer = {"blocks": blocks.name, "norm": getattr(mapping.get("ln_final"), "name", None)}
    return {role: name for role, name in (outer | inner).items() if name}


def _prefix(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    """The token to put before every text, as a tuple of none or one; a folder's `lacewing.json` may fix it."""
    record = folder / "lacewing.json"
    if record.is_file() and "prefix" in (known := json.loads(record.read_text())):
        return tuple(known["prefix"])
    if tokenizer.bos_token_id is None:
        return ()
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    if "im_start" in str(tokenizer.bos_token) and end is not None and end >= 0:
        return (end,)
    return (tokenizer.bos_token_id,)
