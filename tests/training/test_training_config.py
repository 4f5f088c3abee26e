"""What is refused, and in which words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from data.config import build, docs
from data.errors import Mistake
from training.config import ResumeConfig, SweepConfig, TrainConfig


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"k": 100, "latents": 64}, "k = 100 is more than latents = 64"),
        ({"latents": 0}, "latents = 0 is too small; it must be above 0"),
        ({"tokens": 100}, "tokens = 100 is less than one batch of 512"),
        ({"buffer": 100}, "buffer = 100 is less than one batch of 512"),
        ({"context": 2}, "context = 2 is too short"),
        ({"precision": "fp8"}, "precision = 'fp8' is not known; choose one of bf16, fp32"),
        ({"architecture": "batchtopkk"}, "There is no architecture 'batchtopkk'. Did you mean 'batchtopk'?"),
        ({"sites": "resid_pots:3"}, "There is no site 'resid_pots'. Did you mean 'resid_post'?"),
        ({"sites": "resid_post:3,3"}, "name a site twice"),
        ({"seed": -1}, "seed = -1 is negative"),
    ],
)
def test_contradictions_are_sentences(given: dict[str, object], words: str) -> None:
    with pytest.raises(Mistake) as caught:
        build(TrainConfig, {"batch": 512} | given)
    assert words in str(caught.value)


@pytest.mark.parametrize("config", [TrainConfig, ResumeConfig])
def test_every_field_has_help(config: type) -> None:
    assert all(docs(config).get(name) for name in config.__dataclass_fields__)


def test_config_brings_no_torch() -> None:
    code = "import sys, training.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_sweep_takes_whole_numbers_for_k() -> None:
    """TopK keeps a whole number of latents: 16.5 would be trained as 16 and called 16.5."""
    with pytest.raises(Mistake, match=r"k = '16.5' should be ints separated by commas"):
        SweepConfig(k="16.5")
