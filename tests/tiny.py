"""A tiny language model that really does something, made in seconds and saved as a local folder.

Two Llama blocks of width 32, with a byte-level tokenizer in which the words of the agreement task are single tokens,
trained on agreement sentences for a few hundred steps: it gets most of them right, so that circuits, harvesting and
explaining have something to find. Everything is seeded; nothing is downloaded.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from data.tasks.agreement import templates

SENTENCES = 4000


def save(folder: Path, steps: int = 300) -> Path:
    """Trains the model and writes config, safetensors and tokenizer to `folder`."""
    sentences = [
        "".join(t.pieces) + t.answer + " here."
        for t in itertools.islice(templates(lambda _: [0], random.Random(0)), SENTENCES)
    ]
    tokenizer = _tokenizer(sentences)
    model = _model(len(tokenizer))
    _train(model, tokenizer, sentences, steps)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(sentences: list[str]) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        sentences,
        trainers.BpeTrainer(
            vocab_size=900, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def _model(vocabulary: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            bos_token_id=0,
            eos_token_id=0,
            tie_word_embeddings=True,
        )
    )


def _train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, sentences: list[str], steps: int) -> None:
    ids = torch.tensor([[0, *row] for row in tokenizer(sentences, add_special_tokens=False)["input_ids"]])
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = ids[torch.randint(len(ids), (64,), generator=generator)]
        loss = model(input_ids=batch, labels=batch).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
