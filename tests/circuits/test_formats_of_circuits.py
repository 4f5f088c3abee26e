"""Circuits to other tools' files and back: nothing is lost, and what those tools write is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import lacewing
from circuits import exchange
from circuits.exchange_config import ExportCircuitConfig, ImportCircuitConfig
from circuits.formats import KEY
from circuits.formats._graph import cantor, unpaired
from data import parts, queries
from data.errors import Mistake
from data.report import report
from data.store import Workspace

Document = dict[str, Any]


@pytest.fixture(scope="module")
def traced(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A circuit of heads, MLPs and the input, by position, in a workspace of its own."""
    folder = tmp_path_factory.mktemp("traced") / "workspace"
    workspace = Workspace.open(folder, create=True)
    from circuits.config import CircuitConfig
    from circuits.discover import circuit

    config = CircuitConfig(
        model=str(tiny_model), sites="resid_pre:0,attn_z:1,mlp_out:1", mediators="heads,sites", pairs=4, nodes=14,
        edge_nodes=14, verify=3, draws=1, steps=1,
    )  # fmt: skip
    return workspace, circuit(workspace, config)


def rows(workspace: Workspace, table: str, circuit: str) -> list[dict[str, Any]]:
    found = queries.rows(workspace, f"select * exclude (circuit) from {table} where circuit = ?", [circuit])
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True, default=str))


def estimated(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = [{k: None if k.startswith("verified") else v for k, v in row.items()} for row in found]
    return sorted(kept, key=lambda row: json.dumps(row, sort_keys=True, default=str))


def round_trip(workspace: Workspace, circuit: str, name: str, tmp_path: Path) -> tuple[Workspace, str, Document]:
    """Exported, and imported into another workspace: that workspace, the new circuit, the file's content."""
    path = Path(exchange.export_circuit(workspace, ExportCircuitConfig(circuit, str(tmp_path / f"{name}.json"), name)))
    other = Workspace.open(tmp_path / "other", create=True)
    document = json.loads(path.read_text())
    assert [n for n in parts.names("circuits.formats") if parts.load("circuits.formats", n).recognises(document)] == [
        name
    ]
    return other, exchange.import_circuit(other, ImportCircuitConfig(str(path))), document


@pytest.mark.parametrize("name", parts.names("circuits.formats"))
def test_a_round_trip_loses_nothing(traced: tuple[Workspace, str], name: str, tmp_path: Path) -> None:
    workspace, circuit = traced
    other, again, document = round_trip(workspace, circuit, name, tmp_path)
    for table in ("nodes", "edges"):
        assert rows(other, table, again) == estimated(rows(workspace, table, circuit))
        assert rows(other, table, again)
    assert rows(other, "evaluations", again) == rows(workspace, "evaluations", circuit)
    before, after = (rows(w, "circuits", c)[0] for w, c in ((workspace, circuit), (other, again)))
    source = after["summary"].pop("source")
    assert (source["format"], source["file"]) == (name, f"{name}.json")
    assert {k: v for k, v in after.items() if k != "run"} == {k: v for k, v in before.items() if k != "run"}
    for part in ("examples", "edges"):
        tables = [
            pq.read_table(w.folder / f"effects/{c}/part-{part}.parquet")
            for w, c in ((workspace, circuit), (other, again))
        ]
        assert len({str(sorted(map(str, t.to_pylist()))) for t in tables}) == 1
    # Once more out of the second workspace: the same file, claims of exact effects included.
    final = tmp_path / "again.json"
    exchange.export_circuit(other, ExportCircuitConfig(again, str(final), name))
    written = json.loads(final.read_text())
    assert {k: v for k, v in written.items() if k != KEY} == {k: v for k, v in document.items() if k != KEY}
    claims = {row["node"]: row["verified"] for row in document[KEY]["nodes"]}
    assert {row["node"]: row["verified"] for row in written[KEY]["nodes"]} == claims
    assert sum(value is not None for value in claims.values()) >= 3
    assert (
        exchange.import_circuit(other, ImportCircuitConfig(str(tmp_path / f"{name}.json"))) == again
    )  # once is enough


def test_graph_ids_are_the_peers(traced: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, circuit = traced
    _, _, document = round_trip(workspace, circuit, "circuit_tracer", tmp_path)
    by_id = {node["node_id"]: node for node in document["nodes"]}
    assert len(by_id) == len(document["nodes"])  # two sites of one block do not share an id
    assert all(link[end] in by_id for link in document["links"] for end in ("source", "target"))
    logit = next(node for node in document["nodes"] if node["feature_type"] == "logit")
    assert (logit["layer"], logit["is_target_logit"], logit["influence"]) == ("3", True, None)
    shares = sorted(node["influence"] for node in document["nodes"] if node["influence"] is not None)
    assert shares[-1] == pytest.approx(1)
    assert document["metadata"]["prompt_tokens"][1:3] == ["The", document["metadata"]["prompt_tokens"][2]]


def test_eap_sums_positions_and_splits_edges_into_heads(traced: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, circuit = traced
    _, _, document = round_trip(workspace, circuit, "eap", tmp_path)
    assert document["cfg"] == {"n_layers": 2, "n_heads": 4, "parallel_attn_mlp": False, "d_model": 32}
    nodes, edges = (
        queries.rows(workspace, f"select * from {t} where circuit = ?", [circuit]) for t in ("nodes", "edges")
    )
    ours = {"input": ("resid_pre:0", 0), "m1": ("mlp_out:1", 0), "a1.h2": ("attn_z:1", 2)}
    for name, (site, latent) in ours.items():
        effects = [n["effect"] for n in nodes if (n["site"], n["latent"]) == (site, latent)]
        assert (name in document["nodes"]) == bool(effects)
        if effects:
            assert document["nodes"][name] == {"in_graph": True, "score": pytest.approx(sum(effects))}
    into = [e["effect"] for e in edges if e["target"].startswith("attn_z:1/")]
    written = {n: e["score"] for n, e in document["edges"].items() if "->a1." in n}
    assert into
    assert sum(written.values()) == pytest.approx(sum(into), abs=1e-9)
    assert {name[-3:] for name in written} == {"<q>", "<k>", "<v>"}


def test_what_eap_cannot_name_is_refused_as_a_whole_and_kept_as_a_part(
    traced: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, circuit = traced
    mixed = exchange.portable_of(workspace, circuit)
    latents = [row | {"kind": "latent"} for row in mixed.nodes if row["kind"] != "logit"]
    part = parts.load("circuits.formats", "eap")
    with pytest.raises(
        Mistake, match=r"name heads, whole MLP outputs, the input and the logits; this circuit has latents"
    ):
        part.write(type(mixed)(mixed.circuit, latents, []), {"n_layers": 2})
    some = [row if i else row | {"kind": "neuron"} for i, row in enumerate(mixed.nodes)]
    back = part.read(json.loads(json.dumps(part.write(type(mixed)(mixed.circuit, some, mixed.edges), {"n_layers": 2}))))
    assert back.nodes == some
    assert len(back.edges) == len(mixed.edges)


def graph() -> Document:
    """What circuit-tracer writes, by hand: a token, two features in a row, an error, and two logits. Weights are chosen so
    that effects on the target logit can be added up on paper."""
    plain = {"token_prob": 0.0, "is_target_logit": False, "run_idx": 0, "reverse_ctx_idx": 0, "clerp": ""}
    node = lambda name, layer, kind, feature, ctx, **more: {  # noqa: E731
        "node_id": name, "feature": feature, "layer": layer, "ctx_idx": ctx, "feature_type": kind, "jsNodeId": f"{name}-0",
        **plain, "influence": 0.5, "activation": None, **more,
    }  # fmt: skip
    return {
        "metadata": {
            "slug": "two-tokens", "scan": "gemma-2-2b", "transcoder_list": [], "prompt_tokens": ["<bos>", "a"],
            "prompt": "<bos>a", "node_threshold": 0.8, "schema_version": 1,
        },
        "qParams": {
            "pinnedIds": ["0_3_1"], "supernodes": [["letters", "0_3_1"]], "linkType": "both", "clickedId": "",
            "sg_pos": "",
        },
        "nodes": [
            node("0_3_1", "0", "cross layer transcoder", cantor(0, 3), 1, activation=4.0, clerp="a letter"),
            node("5_9_1", "5", "cross layer transcoder", cantor(5, 9), 1, activation=2.0),
            node("3_-1_1", "3", "mlp reconstruction error", -1, 1),
            node("E_7_1", "E", "embedding", 1, 1),
            node("27_20_1", "27", "logit", 20, 1, token_prob=0.6, is_target_logit=True),
            node("27_21_1", "27", "logit", 21, 1, token_prob=0.3),
        ],
        "links": [
            {"source": "E_7_1", "target": "0_3_1", "weight": 8.0},
            {"source": "0_3_1", "target": "5_9_1", "weight": -1.0},
            {"source": "3_-1_1", "target": "5_9_1", "weight": 0.5},
            {"source": "5_9_1", "target": "27_20_1", "weight": 6.0},
            {"source": "0_3_1", "target": "27_20_1", "weight": 1.0},
            {"source": "0_3_1", "target": "27_21_1", "weight": 100.0},
        ],
    }  # fmt: skip


def old_graph() -> Document:
    """A file of 2025: the error of layer 3 is called 0_3_1, as is feature 3 of layer 0; features come first."""
    document = graph()
    document["nodes"][2]["node_id"] = "0_3_1"
    document["links"][2]["source"] = "0_3_1"
    return document


def eap() -> Document:
    """What EAP-IG writes, by hand; its scores of nodes that it has not scored are NaN."""
    edge = lambda score, inside=True: {"score": score, "in_graph": inside}  # noqa: E731
    return {
        "cfg": {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 8},
        "nodes": {name: {"in_graph": name != "m1"} for name in ("input", "a0.h1", "m1", "logits")},
        "edges": {
            "input->a0.h1<q>": edge(0.25), "input->a0.h1<k>": edge(0.5), "input->a0.h1<v>": edge(-1.0, False),
            "a0.h1->logits": edge(2.0), "a0.h1->m1": edge(0.1, False), "input->logits": edge(-3.0),
        },
    }  # fmt: skip


def brought(workspace: Workspace, document: Document, tmp_path: Path, name: str | None = None) -> str:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(document))
    return exchange.import_circuit(workspace, ImportCircuitConfig(str(path), name))


def effects(workspace: Workspace, circuit: str) -> dict[str, float]:
    found = queries.rows(workspace, "select node, effect, verified from nodes where circuit = ?", [circuit])
    assert all(row["verified"] is None for row in found)
    return {row["node"]: row["effect"] for row in found}


BY_HAND = {
    "mlp_out:5/latent:9@1": 6.0,
    "mlp_out:0/latent:3@1": 1.0 - 1.0 / 2.0 * 6.0,
    "mlp_out:3/error@1": 0.5 / 2.0 * 6.0,
    "token:7@1": 8.0 / 4.0 * (1.0 - 3.0),
    "logit:20@1": 7.0,
    "logit:21@1": 0.0,
}
"""Effects on the target logit: direct weight, and weight / activation of the target x the target's effect."""


def test_a_graph_of_circuit_tracer(workspace: Workspace, tmp_path: Path) -> None:
    circuit = brought(workspace, graph(), tmp_path)
    found = effects(workspace, circuit)
    assert {name: found[name] for name in BY_HAND if not name.startswith("logit:21")} == pytest.approx(
        {k: v for k, v in BY_HAND.items() if not k.startswith("logit:21")}
    )
    row = queries.circuit(workspace, circuit)
    assert (row["task"], row["model"], row["method"]) == (
        "two-tokens",
        "gemma-2-2b",
        "circuit-tracer's attribution graph",
    )
    assert row["summary"]["source"]["format"] == "circuit_tracer"
    top = queries.rows(workspace, "select node, role, layer from nodes where circuit = ? and rank = 1", [circuit])[0]
    assert top == {"node": "mlp_out:5/latent:9@1", "role": "a", "layer": 5}
    out = tmp_path / "out.json"
    exchange.export_circuit(workspace, ExportCircuitConfig(circuit, str(out)))
    written = json.loads(out.read_text())
    ordered = lambda links: sorted(links, key=str)  # noqa: E731
    assert ordered(written["links"]) == ordered(graph()["links"])
    assert sorted(written["nodes"], key=str) == sorted(graph()["nodes"], key=str)
    assert (written["metadata"], written["qParams"]) == (graph()["metadata"], graph()["qParams"])


def test_an_error_is_told_from_the_feature_of_its_id(workspace: Workspace, tmp_path: Path) -> None:
    circuit = brought(workspace, old_graph(), tmp_path)
    assert effects(workspace, circuit)["mlp_out:3/error@1"] == pytest.approx(BY_HAND["mlp_out:3/error@1"])
    assert effects(workspace, circuit)["mlp_out:0/latent:3@1"] == pytest.approx(BY_HAND["mlp_out:0/latent:3@1"])
    # The two links of one source and target were told apart; the others could be either's, and are said to be.
    assert queries.circuit(workspace, circuit)["summary"]["ambiguous_links"] == 2
    out = tmp_path / "out.json"
    exchange.export_circuit(workspace, ExportCircuitConfig(circuit, str(out)))
    again = tmp_path / "w2"
    other = Workspace.open(again, create=True)
    assert effects(other, exchange.import_circuit(other, ImportCircuitConfig(str(out)))) == effects(workspace, circuit)


def test_a_graph_of_neuronpedia(workspace: Workspace, tmp_path: Path) -> None:
    document = graph()
    document["metadata"] |= {"info": {"creator_name": "someone", "generator": {"name": "circuit-tracer"}}}
    for node in document["nodes"]:
        node["layer"] = int(node["layer"]) if node["layer"].isdigit() else node["layer"]  # its schema allows both
    circuit = brought(workspace, document, tmp_path)
    assert queries.circuit(workspace, circuit)["summary"]["source"]["format"] == "neuronpedia"
    assert effects(workspace, circuit)["token:7@1"] == pytest.approx(-4.0)
    out = tmp_path / "out.json"
    exchange.export_circuit(workspace, ExportCircuitConfig(circuit[:6], str(out), "neuronpedia"))
    assert json.loads(out.read_text())["metadata"] == document["metadata"]


def test_a_graph_of_eap(workspace: Workspace, tmp_path: Path) -> None:
    document = eap()
    document["nodes"]["a0.h1"]["score"] = float("nan")
    circuit = brought(workspace, document, tmp_path)
    assert effects(workspace, circuit) == {
        "resid_pre:0/site:0@0": -3.0 + 0.25 + 0.5, "attn_z:0/head:1@0": 2.0, "logit@0": 0.0,
    }  # fmt: skip
    found = queries.rows(
        workspace, "select source, target, effect from edges where circuit = ? order by effect", [circuit]
    )
    assert [(row["source"], row["target"], row["effect"]) for row in found] == [
        ("resid_pre:0/site:0@0", "logit@0", -3.0),
        ("resid_pre:0/site:0@0", "attn_z:0/head:1@0", 0.75),
        ("attn_z:0/head:1@0", "logit@0", 2.0),
    ]
    out = tmp_path / "out.json"
    exchange.export_circuit(workspace, ExportCircuitConfig(circuit, str(out), "eap"))
    written = json.loads(out.read_text())
    assert (written["cfg"], written["edges"]) == (document["cfg"], document["edges"])
    assert written["nodes"]["a0.h1"] == {"in_graph": True}


def test_another_tools_edit_of_our_file_decides(traced: tuple[Workspace, str], tmp_path: Path) -> None:
    """A link taken out is gone, a changed weight is the new effect without our interval, supernodes are kept."""
    workspace, circuit = traced
    _, _, document = round_trip(workspace, circuit, "neuronpedia", tmp_path)
    gone, changed, *_ = document["links"]
    document["links"] = document["links"][1:]
    changed["weight"] = 42.0
    document["qParams"]["supernodes"] = [["mine", changed["source"]]]
    other = Workspace.open(tmp_path / "edited", create=True)
    again = brought(other, document, tmp_path)
    edges = queries.rows(other, "select * from edges where circuit = ?", [again])
    assert len(edges) == len(document["links"])
    new = next(edge for edge in edges if edge["effect"] == 42.0)
    assert (new["lower"], new["upper"], new["verified"]) == (42.0, 42.0, None)
    names = {row["id"]: row["node"] for row in document[KEY]["nodes"]}
    assert (names[gone["source"]], names[gone["target"]]) not in {(e["source"], e["target"]) for e in edges}
    kept = queries.rows(other, "select details from imports where circuit = ?", [again])[0]["details"]
    assert kept["leftover"]["graph"]["qParams"]["supernodes"] == [["mine", changed["source"]]]


def test_the_pairing_and_its_inverse() -> None:
    assert cantor(0, 6200) == 19229300 - 0  # a node of a published graph: layer 0, index 6200
    assert cantor(25, 3029) == 4668014  # and another: layer 25, index 3029
    for pair in [(0, 0), (3, 0), (0, 3), (25, 16383), (7, 131071)]:
        assert unpaired(cantor(*pair)) == pair


def spoilt(**changes: Any) -> Document:
    """The graph with some parts replaced."""
    return {**graph(), **changes}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([1, 2], "holds no circuit that is known: it has list. Known formats have circuit_tracer: metadata, qParams"),
        ({"cfg": {}, "links": []}, "holds no circuit that is known: it has cfg, links"),
        (spoilt(links=[{"source": "9_9_9", "target": "0_3_1", "weight": 1.0}]), "dangles: there is no node '9_9_9'"),
        (spoilt(links=[{"source": "E_7_1", "target": "0_3_1", "weight": "x"}]), "should be a number, not 'x'"),
        (spoilt(links=[{"source": "E_7_1", "target": "0_3_1"}]), "The link from 'E_7_1' to '0_3_1' lacks 'weight'"),
        (spoilt(links=graph()["links"] + graph()["links"][:1]), "is in the file more than once"),
        (spoilt(nodes=graph()["nodes"] * 2), "is in the file twice; its links cannot be told apart"),
        (spoilt(nodes=[7]), "Entry 0 of 'nodes' should be an object, not 7"),
        (spoilt(nodes=[{"node_id": "0_3_1"}]), "Node '0_3_1' lacks 'feature_type', a text"),
        (
            spoilt(nodes=[graph()["nodes"][0] | {"feature_type": "feture"}], links=[]),
            "There is no feature_type 'feture'",
        ),
        (spoilt(nodes=[graph()["nodes"][0] | {"ctx_idx": 5}], links=[]), "at position 5, and the prompt has 2 tokens"),
        (
            spoilt(nodes=[graph()["nodes"][0] | {"layer": "top"}], links=[]),
            "'layer' of node '0_3_1' should be a number",
        ),
        (spoilt(nodes=graph()["nodes"][:1], links=[]), "no node of type 'logit', so no node has an effect"),
        (spoilt(links=[*graph()["links"], {"source": "5_9_1", "target": "0_3_1", "weight": 1}]), "go in a circle"),
        (spoilt(lacewing={"version": 99}), "was written by a newer version of this tool"),
        (spoilt(lacewing={"version": 1}), "A row of 'circuit' in the part 'lacewing' lacks 'task'"),
        ({**eap(), "edges": {"input->a0.h0": {"score": 1.0, "in_graph": True}}}, "dangles: there is no node 'a0.h0'"),
        ({**eap(), "nodes": {"b7": {"in_graph": True}}, "edges": {}}, "There is no node 'b7' in such graphs"),
        ({**eap(), "cfg": {}}, "'cfg' lacks 'n_layers', a whole number"),
    ],
)
def test_bad_files_are_answered(document: Any, said: str, workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(Mistake) as raised:
        brought(workspace, document, tmp_path)
    assert said in str(raised.value)
    assert queries.rows(workspace, "select * from circuits") == queries.rows(workspace, "select * from imports") == []


def test_the_verbs(traced: tuple[Workspace, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace, circuit = traced

    def run(*given: str) -> tuple[int, str, str]:
        status = lacewing.main([*given, "--workspace", str(workspace.folder)])
        out, err = capsys.readouterr()
        return status, out, err

    path = tmp_path / "circuit.json"
    assert run("export-circuit", circuit, "--to", str(path)) == (0, f"{path}\n", "")
    status, out, err = run("import-circuit", str(path))
    assert status == 0, err
    assert out.strip() in {row["circuit"] for row in queries.circuits(workspace)}
    assert f"Circuit {circuit}: agreement" in report(workspace)  # the newest that was traced here
    assert "exists already; nothing is overwritten" in run("export-circuit", circuit, "--to", str(path))[2]
    assert "There is no circuit 'zzz'" in run("export-circuit", "zzz", "--to", str(tmp_path / "z.json"))[2]
    unknown = run("export-circuit", circuit, "--to", str(tmp_path / "z.json"), "--format", "ep")[2]
    assert "There is no format 'ep'. Did you mean 'eap'?" in unknown
    assert "cannot be read: No such file or directory" in run("import-circuit", str(tmp_path / "no.json"))[2]
    (tmp_path / "bad.json").write_text("{")
    assert "is not JSON: Expecting property name" in run("import-circuit", str(tmp_path / "bad.json"))[2]
    assert not (tmp_path / "z.json").exists()
