"""SHIFT on a model whose label and cue are known directions, and its probe on the tiny model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor
from tracr import Basis

import lacewing
from circuits import methods, splice, verify
from circuits.mediators import Mediator, mediator
from circuits.problem import Problem
from circuits.shift import choose, classify, record, run, texts
from circuits.shift.config import ShiftConfig
from circuits.shift.probe import Corpus, Probe, Probed, Reader, fit, without
from circuits.shift.texts import Text
from data.errors import Mistake
from data.models import Edit, Subject
from data.store import Workspace
from data.words import Node, Site
from training.dictionary import Dictionary

SITE = Site(0, "resid_pre")
WORDS = {"he": (1, 2.0), "she": (1, -2.0), "lecture": (2, 1.0), "patient": (2, -1.0), "the": (3, 0.1), "and": (4, 0.1)}
"""Of each word, its direction and how far it points along it: 1 is the cue's, 2 the label's."""


class Toy:
    """A model of one site: each word's embedding, turned by a rotation, so that no coordinate means anything."""

    digest = name = "toy"
    layers, d_model, heads, prefix = 1, 8, 1, (0,)

    def __init__(self) -> None:
        self.turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0))).Q
        plain = torch.zeros(len(WORDS) + 1, 8)
        for number, (direction, size) in enumerate(WORDS.values(), 1):
            plain[number, direction] = size
        self.embedding = plain @ self.turn

    def tokenize(self, text: str) -> list[int]:
        return [list(WORDS).index(word) + 1 for word in text.split()]

    def spell(self, tokens: list[int]) -> list[str]:
        return [["prefix", *WORDS][token] for token in tokens]

    def width(self, site: Site) -> int:
        return self.d_model

    def run(
        self, tokens: Tensor, *, edits: Mapping[Site, Edit] | None = None, start: tuple[Site, Tensor] | None = None,
        stop: Site | None = None, keep: Tensor | None = None,
    ) -> Tensor | None:  # fmt: skip
        x = start[1] if start else self.embedding[tokens]
        if edits and SITE in edits:
            edits[SITE](x)
        return None

    def dictionary(self) -> Dictionary:
        """Eight signed pairs of latents, 2 i for one way along direction i and 2 i + 1 for the other."""
        decoder = torch.stack([sign * row for row in self.turn for sign in (1, -1)])
        return Dictionary("toy-d", "toy", "toy", SITE, 16, 8, Signed(decoder.T.clone(), decoder, torch.zeros(8)))


class Signed(Basis):
    def encode(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.W_enc - 1e-4)


def toy_texts(groups: list[tuple[int, int]], count: int, seed: int) -> list[Text]:
    """Three to seven words, one of the cue, one of the label in every text but each fourth, the rest of nothing."""
    generator = torch.Generator().manual_seed(seed)
    found: list[Text] = []
    for number in range(count):
        label, cue = groups[number % len(groups)]
        filler = [("the", "and")[i] for i in torch.randint(2, (1 + number % 5,), generator=generator).tolist()]
        found.append(Text(" ".join([*filler, ("he", "she")[cue], ("lecture", "patient")[label]]), label, cue))
    return found


EVERY = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.fixture(scope="module")
def toy() -> Toy:
    return Toy()


@pytest.fixture(scope="module")
def corpora(toy: Toy) -> dict[str, Corpus]:
    parts = {
        "train": toy_texts([(0, 0), (1, 1)], 40, 0),
        "balanced": toy_texts(EVERY, 40, 1),
        "test": toy_texts(EVERY, 80, 2),
        "neutral": [Text(f"the {word} {end}", 0, cue) for end in ("and", "the and", "the") * 4
                    for cue, word in enumerate(("he", "she"))],
    }  # fmt: skip
    return {name: Corpus.of(some, toy.tokenize, toy.prefix) for name, some in parts.items()}


@pytest.fixture(scope="module")
def reader(toy: Toy) -> Reader:
    return Reader(toy, SITE, {SITE: mediator("latents", toy, SITE, toy.dictionary())}, batch=16)


def found_with(reader: Reader, corpora: Mapping[str, Corpus], remove: str) -> run.Found:
    import contextlib
    from collections.abc import Iterator

    @contextlib.contextmanager
    def phase(name: str) -> Iterator[object]:
        yield methods.silent

    config = ShiftConfig(remove=remove, nodes=12, discovery=20, draws=3, batch=16)
    return run.find(reader, corpora, config, phase)


def test_shift_frees_a_probe_from_a_planted_cue(reader: Reader, corpora: Mapping[str, Corpus]) -> None:
    """The probe trusts the louder cue; without its latents, and nothing else, it is right everywhere."""
    found = found_with(reader, corpora, "auto")
    rows = {one.name: {m: one.measures[m].value for m in classify.MEASURES} for one in found.classifiers}
    assert {n for nodes in found.removal.values() for n in nodes.tolist()} <= {2, 3}  # the cue's two ways
    assert rows["original"] == {"label": 0.5, "cue": 1.0, "worst group": 0.0}
    for name in ("SHIFT", "SHIFT, retrained", "oracle", "latent skyline"):
        assert rows[name] == {"label": 1.0, "cue": 0.5, "worst group": 1.0}, name
    assert rows["random latents"]["worst group"] < 0.5
    assert rows["all latents shown"]["label"] < 0.9
    assert found.check.passed
    assert found.errors[SITE] < 0.01  # the dictionary is perfect, but for its threshold
    assert found.calibration is not None
    assert found.calibration.pearson > 0.999  # the probe is linear in its latents here


def test_a_persons_choice_is_what_is_removed(reader: Reader, corpora: Mapping[str, Corpus], tmp_path: Path) -> None:
    file = tmp_path / "chosen.txt"
    file.write_text("# she\nresid_pre:0/latent:3\n\ntoyd/2  # he\n")
    mediators = {SITE: Mediator(SITE, "latent", 16, 1, reader.mediators[SITE].basis, "toyd")}
    by_file = choose.chosen(str(file), (), mediators)
    assert by_file == choose.chosen("resid_pre:0/latent:3, toyd/2", (), mediators)
    assert classify.removal_of(by_file)[SITE].tolist() == [2, 3]
    found = found_with(reader, corpora, "resid_pre:0/latent:4,resid_pre:0/latent:5")  # the label's own
    shift = next(one for one in found.classifiers if one.name == "SHIFT")
    assert (shift.removed, shift.measures["label"].value, shift.note) == (2, 0.5, "chosen by a person")
    none = found_with(reader, corpora, "none")
    assert [one.name for one in none.classifiers] == ["original", "oracle", "all latents shown"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("resid_pre:0/latent:16", "There is no latent 'resid_pre:0/latent:16' to remove. The probe's circuit has "
                                  "resid_pre:0 (16 latents)."),
        ("resid_post:9/latent:1", "There is no latent 'resid_post:9/latent:1' to remove."),
        ("beef/3", "There is no latent 'beef/3' to remove."),
        ("nowhere.txt", "'nowhere.txt' is neither a file nor a latent; write SITE/latent:N"),
        (",", "',' names no latent to remove"),
    ],
)  # fmt: skip
def test_choices_that_cannot_be(reader: Reader, given: str, said: str) -> None:
    with pytest.raises(Mistake) as raised:
        choose.chosen(given, (), reader.mediators)
    assert str(raised.value).startswith(said)


def test_the_cue_is_told_by_auroc() -> None:
    """Closed form: perfect, none, reversed, and with a tie."""
    cue = torch.tensor([0.0, 0, 1, 1])
    for values, expected in (([1, 2, 3, 4], 1), ([1, 1, 1, 1], 0), ([3, 4, 1, 2], -1), ([1, 3, 3, 4], 0.75)):
        samples = torch.stack([torch.tensor(values, dtype=torch.float), cue], dim=1)[None]
        assert float(choose.association(samples)[0]) == expected


def test_accuracies_have_wilsons_interval() -> None:
    """Against published values: Wilson's 95 % for 10 of 10 and for 5 of 20 (Agresti and Coull 1998's formula by hand)."""
    assert classify.wilson(1.0, 10).lower == pytest.approx(10 / (10 + 1.959964**2))
    assert classify.wilson(1.0, 10).upper == pytest.approx(1.0)
    quarter = classify.wilson(0.25, 20)
    assert (quarter.lower, quarter.upper) == (pytest.approx(0.1119, abs=1e-4), pytest.approx(0.4687, abs=1e-4))


def test_the_worst_group_is_the_worst(toy: Toy) -> None:
    corpus = Corpus.of(toy_texts(EVERY, 8, 0), toy.tokenize, toy.prefix)
    said = corpus.labels.clone()
    said[2] = 1 - said[2]  # one of the two texts of group (1, 0)
    row = classify.classified("x", [said], corpus, 0)
    assert row.measures["worst group"].value == 0.5
    assert row.measures["label"].value == pytest.approx(7 / 8)
    assert row.trials == {"label": 8, "cue": 8, "worst group": 2}


@pytest.fixture(scope="module")
def probed(subject: Subject, dictionaries: Mapping[Site, Dictionary]) -> tuple[Reader, Corpus, Probe]:
    """The tiny model with planted dictionaries and a probe of what its texts are about."""
    some = texts.portraits(8, 8, 0)["balanced"]
    corpus = Corpus.of(some, subject.tokenize, subject.prefix)
    mediators = {site: mediator("latents", subject, site, one) for site, one in dictionaries.items()}
    reader = Reader(subject, Site(1), mediators, batch=3)
    return reader, corpus, fit(reader.pooled(corpus), corpus.labels)


def test_the_probe_is_a_model(probed: tuple[Reader, Corpus, Probe], subject: Subject) -> None:
    """Its logits at the last token are the probe's on the mean, worked out text by text, without padding."""
    reader, corpus, probe = probed
    pooled = reader.pooled(corpus)
    model = Probed(subject, Site(1), probe)
    for number in range(len(corpus.texts)):
        row = torch.tensor([corpus.row(number)])
        own = subject.read(row, [Site(1)])[Site(1)][0, len(subject.prefix) :].mean(0)
        torch.testing.assert_close(pooled[number], own, atol=1e-5, rtol=1e-5)  # fp32 sums in another order
        logits = model.run(row)
        assert logits is not None
        assert float(logits[0, -1, 1] - logits[0, -1, 0]) == pytest.approx(float(probe.logits(own)), abs=1e-3)


def test_effects_on_the_probe_are_what_removal_does(probed: tuple[Reader, Corpus, Probe]) -> None:
    """The exact effect of a latent is the change of the signed logit when `without` removes it."""
    reader, corpus, probe = probed
    config = ShiftConfig(discovery=8, batch=3)
    problem = run.problem_of(reader, probe, corpus, "label", config)
    assert splice.self_check(problem).passed
    effects = methods.estimate(problem, "attribution_patching", 1)
    body = problem.places.index("body")
    nodes = [n for n in effects.nodes if n.position == body and n.latent is not None][::40]
    assert {node.site for node in nodes} == {Site(0), Site(1)}
    exact = verify.exact_effects(problem, nodes).mean
    rows = [*(corpus.labels == 0).nonzero()[:4, 0].tolist(), *(corpus.labels == 1).nonzero()[:4, 0].tolist()]
    sign = 2 * corpus.labels[rows].float() - 1
    before = sign * probe.logits(reader.pooled(corpus))[rows]
    for node, effect in zip(nodes, exact.tolist(), strict=True):
        after = sign * probe.logits(reader.pooled(corpus, classify.removal_of([node])))[rows]
        assert effect == pytest.approx(float((before - after).mean()), abs=2e-4)  # fp32 through two blocks


def test_removal_leaves_the_prefix(toy: Toy, reader: Reader) -> None:
    x = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(1))
    changed = without(reader.mediators[SITE], torch.arange(16), 1)(x)
    assert changed is not None
    assert torch.equal(changed[:, 0], x[:, 0])
    assert float(changed[:, 1:].abs().max()) < 1e-3  # all of it was latents, but for the encoder's threshold


def test_portraits_plant_the_cue() -> None:
    parts = texts.portraits(24, 40, 0)
    assert {text.group for text in parts["train"]} == {0, 3}
    for part in ("balanced", "test"):
        assert sorted({text.group for text in parts[part]}) == [0, 1, 2, 3]
    work = [
        {s for t in parts[p] for s in t.text.split(". ") if "patient" in s or "essays" in s} for p in ("train", "test")
    ]
    assert work[0].isdisjoint(work[1])  # what is done in the test is not what is done in training
    he, she = parts["neutral"][:2]
    assert (he.cue, she.cue) == (0, 1)
    assert len(he.text.split()) == len(she.text.split())
    assert texts.portraits(24, 40, 0) == parts
    assert not any("{" in text.text for part in parts.values() for text in part)


def lines(*records: object) -> str:
    return "\n".join(json.dumps(record) for record in records)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1]", "Line 1 of"),
        (lines({"part": "tset", "text": "a", "label": 0, "cue": 0}), "Did you mean 'test'?"),
        (lines({"part": "test", "text": "a", "label": 2, "cue": 0}), "needs a text, and 0 or 1 as label and as cue"),
        (lines({"part": "train", "text": "a", "label": 0, "cue": 0}), "has no text of label 1 with cue 1"),
    ],
)
def test_texts_that_cannot_be(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text(content)
    with pytest.raises(Mistake) as raised:
        texts.read(str(file))
    assert said in str(raised.value)


def test_texts_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    groups = {"train": [(0, 0), (1, 1)], "balanced": EVERY, "test": EVERY}
    file.write_text(lines(*(
        {"part": part, "text": f"a {label}{cue}", "label": label, "cue": cue}
        for part, some in groups.items() for label, cue in some
    )))  # fmt: skip
    read = texts.read(str(file))
    assert [text.group for text in read["test"]] == [0, 1, 2, 3]
    assert read["neutral"] == []
    with pytest.raises(Mistake, match="cannot be read"):
        texts.read(str(tmp_path / "gone.jsonl"))


def test_what_is_found_is_kept(workspace: Workspace, toy: Toy, reader: Reader, corpora: Mapping[str, Corpus]) -> None:
    from data import runs

    found = found_with(reader, corpora, "auto")
    with runs.start(workspace, "shift", {}) as one:
        record.store(workspace, one, found, toy.spell)
    with workspace.read() as db:
        scores = db.execute(
            "select value, control from shift_scores where classifier = 'SHIFT' order by measure"
        ).fetchall()
        assert [value for value, _ in scores] == [0.5, 1.0, 1.0]
        assert all(control is not None for _, control in scores)
        removed = db.execute("select latent, tokens from shift_latents where removed order by latent").fetchall()
        assert removed[0] == (2, '["he"]')
    said = record.tables(found, toy.spell)
    assert "resid_pre:0/latent:2" in said
    assert "SHIFT, retrained" in said


def test_auto_needs_neutral_texts(reader: Reader, corpora: Mapping[str, Corpus]) -> None:
    """Without them nothing is known of the cue, and nothing is removed."""
    nodes = [Node(SITE, "latent", 2, 1)]
    assert choose.associations(reader, None, nodes)[0].upper == 1
    found = found_with(reader, {k: v for k, v in corpora.items() if k != "neutral"}, "auto")
    assert not found.removal
    assert isinstance(run.problem_of(reader, fit(reader.pooled(corpora["train"]), corpora["train"].labels),
                                     corpora["train"], "label", ShiftConfig()), Problem)  # fmt: skip


@pytest.fixture
def tiny_mediators(
    subject: Subject, dictionaries: Mapping[Site, Dictionary], monkeypatch: pytest.MonkeyPatch
) -> Mapping[Site, Mediator]:
    """The planted dictionaries, as if the workspace had them."""
    placed = {site: mediator("latents", subject, site, one) for site, one in dictionaries.items()}
    monkeypatch.setattr(run, "find_mediators", lambda *_: placed)
    return placed


@pytest.mark.usefixtures("tiny_mediators")
def test_the_command_from_texts_to_tables(
    tiny_model: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        "shift", "--model", str(tiny_model), "--workspace", str(workspace.folder), "--train", "8", "--test", "8",
        "--discovery", "4", "--nodes", "3", "--draws", "1", "--remove", "resid_post:0/latent:1",
    ]  # fmt: skip
    assert lacewing.main(given) == 0
    said = capsys.readouterr().out
    assert "neuron skyline" in said
    with workspace.read() as db:
        assert db.execute("select count(*) from shift_scores").fetchall() == [(24,)]
        assert db.execute("select max(removed) from shift_scores where classifier = 'SHIFT'").fetchall() == [(1,)]
        assert db.execute("select count(*) from shift_latents").fetchall() == [(3,)]


@pytest.mark.usefixtures("tiny_mediators")
@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--site", "resid_pre:0"), "There is no dictionary at or before the probe's site resid_pre:0"),
        (("--site", "resid_post:0,1"), "--site resid_post:0,1 names 2 sites; the probe reads one."),
        (("--site", "resid_post:7"), "has 2 blocks (0 to 1); there is no site resid_post:7"),
        (("--remove", "resid_post:1/latent:96"), "There is no latent 'resid_post:1/latent:96' to remove."),
        (("--texts", "nowhere.jsonl"), "The texts 'nowhere.jsonl' cannot be read"),
        (("--method", "guess"), "There is no method 'guess'."),
        (("--draws", "0"), "--draws 0 is too few; give at least 1."),
    ],
)
def test_slips_are_found_before_any_work(
    option: tuple[str, str], said: str, tiny_model: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["shift", "--model", str(tiny_model), "--workspace", str(workspace.folder), *option]
    assert lacewing.main(given) == 2
    assert said in capsys.readouterr().err
    with workspace.read() as db:
        assert db.execute("select count(*) from runs").fetchall() == [(0,)]


def test_auto_takes_nothing_by_chance() -> None:
    """Forty latents that know nothing of the cue, half of them silent: none is associated with it for sure."""
    generator = torch.Generator().manual_seed(0)
    cue = torch.arange(32) % 2
    for draw in range(40):
        activation = torch.rand(32, generator=generator) * (torch.rand(32, generator=generator) < 0.5)
        found = choose.intervals.bootstrap(torch.stack([activation, cue.float()], dim=1), choose.association, seed=draw)
        assert found.lower < choose.SURE
        assert found.upper > -choose.SURE
