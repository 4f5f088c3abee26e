"""Interventions against brute force: what is changed, what stays, what is predicted, and what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tracr import TracrModel
from transformers import LlamaForCausalLM

import lacewing
from circuits import interventions, methods, verify
from circuits.freeze import frozen
from circuits.generation import generate
from circuits.interventions import Change
from circuits.measured import measure, predict, random_targets
from circuits.problem import Problem
from circuits.targets import Target, named
from data import parts, queries
from data.errors import Mistake
from data.models import Subject
from data.store import Workspace
from data.words import Node, Pair, Site
from training.dictionary import Dictionary


def change(problem: Problem, does: str, *names: str, amount: float | None = None) -> Change:
    return Change.of(problem, interventions.load(does, amount), amount, [Target.parse(name) for name in names])


def live(problem: Problem, site: Site, place: int) -> list[int]:
    """Latents of a site that differ from their reference somewhere, at one place."""
    return (problem.states[site].latent_change[:, place] != 0).any(0).nonzero()[:, 0].tolist()


def values(problem: Problem, site: Site, one: Change) -> tuple[torch.Tensor, torch.Tensor]:
    """The value at a site on the clean prompts, and what the change makes of it."""
    x = problem.states[site].x
    return x, one.at(site, torch.arange(len(problem)), x)


def test_ablating_a_node_undoes_its_exact_effect(problem: Problem) -> None:
    for site in problem.sites:
        for latent in live(problem, site, 2)[:3]:
            node = Node(site, "latent", latent, 2)
            exact = verify.exact_effects(problem, [node]).mean
            assert float(measure(change(problem, "ablate", str(node))).change.mean()) == pytest.approx(
                -float(exact), abs=1e-5
            )
        error = Node(site, "error", None, 2)
        exact = verify.exact_effects(problem, [error]).mean
        assert float(measure(change(problem, "ablate", str(error))).change.mean()) == pytest.approx(
            -float(exact), abs=1e-5
        )


def test_all_nodes_of_a_site_swapped_make_the_counterfactual(problem: Problem) -> None:
    """Everything at the last site stands as on the counterfactual prompt, so its metric comes out."""
    site = problem.sites[-1]
    names = [f"{site}/latent:{i}" for i in range(problem.mediators[site].count)] + [f"{site}/error"]
    found = measure(change(problem, "swap", *names))
    torch.testing.assert_close(found.after, problem.patch_metric, atol=1e-4, rtol=1e-4)
    assert float(found.right_before.mean()) > 0.5
    assert float(found.right_after.mean()) < 0.5


def test_a_factor_of_one_changes_nothing_at_all(problem: Problem) -> None:
    site = problem.sites[0]
    same = change(problem, "scale", f"{site}/error", *(f"{site}/latent:{i}" for i in range(96)), amount=1)
    x, after = values(problem, site, same)
    assert torch.equal(x, after)


def test_a_factor_of_zero_is_ablation_to_zero(subject: Subject, pairs: list[Pair], problem: Problem) -> None:
    zero = Problem.of(subject, problem.mediators, pairs, reference="zero")
    names = [f"{site}/latent:{i}@{p}" for site in zero.sites for p in (2, 3) for i in live(problem, site, p)[:4]]
    one, other = measure(change(zero, "scale", *names, amount=0)), measure(change(zero, "ablate", *names))
    torch.testing.assert_close(one.after, other.after)
    assert float(one.change.abs().max()) > 0.01


@pytest.mark.parametrize(("does", "amount"), [("add", 1.5), ("clamp", 1.5), ("clamp", 0.0), ("scale", -2.0)])
def test_a_change_moves_the_stream_along_the_decoder(problem: Problem, does: str, amount: float) -> None:
    site, latent = problem.sites[0], live(problem, problem.sites[0], 2)[0]
    state, direction = problem.states[site], problem.mediators[site].W_dec[latent]
    x, after = values(problem, site, change(problem, does, f"{site}/latent:{latent}@2", amount=amount))
    value = state.f[:, 2, latent]
    new = {"add": value + amount, "clamp": torch.full_like(value, amount), "scale": amount * value}[does]
    torch.testing.assert_close(after[:, 2], x[:, 2] + (new - value)[:, None] * direction, atol=1e-5, rtol=1e-5)
    elsewhere = [0, 1, 3, 4, 5]
    assert torch.equal(after[:, elsewhere], x[:, elsewhere])


def test_without_a_place_every_position_is_reached_and_with_one_only_that(problem: Problem) -> None:
    site = problem.sites[0]
    x, after = values(problem, site, change(problem, "add", f"{site}/latent:7", amount=1))
    assert ((after - x).norm(dim=-1) > 0.9).all()
    x, after = values(problem, site, change(problem, "add", f"{site}/latent:7@1", amount=1))
    assert ((after - x).norm(dim=-1) > 0.9).sum(0).tolist() == [0, len(problem), 0, 0, 0, 0]


def test_a_site_alone_is_predicted_exactly(problem: Problem) -> None:
    """Integrated gradients are complete: only the midpoint rule's error is left. Without steps it is plain patching."""
    place = 5  # the last token, to which the first block has already brought the subject's number
    for site in problem.sites:
        one = change(problem, "ablate", f"{site}/error@{place}", *(f"{site}/latent:{i}@{place}" for i in range(96)))
        found = measure(one, steps=40)
        torch.testing.assert_close(found.predicted, found.change, atol=5e-3, rtol=5e-3)
        assert float(found.change.abs().max()) > 0.1
        effects = methods.estimate(problem, "attribution_patching", 1)
        chosen = [i for i, n in enumerate(effects.nodes) if n.site == site and n.position == place]
        total = -effects.matrix(torch.tensor(chosen)).sum(1)
        torch.testing.assert_close(predict(one, steps=0).sum(1), total, atol=1e-4, rtol=1e-4)


def test_two_sites_together_are_not_the_sum_of_their_predictions(problem: Problem) -> None:
    """The second site's change is made on what the first has already changed, which no sum of effects knows."""
    names = [f"{site}/latent:{i}" for site in problem.sites for i in range(96)]
    found = measure(change(problem, "ablate", *names), steps=20)
    assert float((found.predicted - found.change).abs().mean()) > 0.1 * float(found.change.abs().mean())
    assert found.by_site is not None
    for number, site in enumerate(problem.sites):
        alone = measure(change(problem, "ablate", *(f"{site}/latent:{i}" for i in range(96))))
        torch.testing.assert_close(found.by_site[:, number], alone.change, atol=1e-2, rtol=1e-2)


def patterns_by_hand(subject: Subject, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Attention patterns [batch head pos pos] of every block, from transformers' own eager attention."""
    eager = LlamaForCausalLM.from_pretrained(subject.folder, attn_implementation="eager").eval()
    return eager(input_ids=tokens, output_attentions=True).attentions


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_attention_is_the_clean_pattern_over_the_changed_values(problem: Problem, freeze: bool) -> None:
    """z = pattern of the clean prompt @ values as they flow, with the pattern from an independent implementation."""
    subject = problem.model
    assert isinstance(subject, Subject)
    rows, site = torch.arange(5), Site(0)
    edit = change(problem, "add", f"{site}/latent:3", f"{site}/latent:11@2", amount=4.0).edits(rows)
    tokens = problem.clean[rows]
    seen: dict[str, torch.Tensor] = {}
    watch = {
        Site(1, "attn_z"): lambda z: seen.__setitem__("z", z),
        Site(1, "attn_v"): lambda v: seen.__setitem__("v", v),
    }
    with torch.no_grad():
        clean = patterns_by_hand(subject, tokens)[1]
        if freeze:
            with frozen(subject, lambda: subject.run(tokens)):
                subject.run(tokens, edits={**edit, **watch})
        else:
            subject.run(tokens, edits={**edit, **watch})
    value = seen["v"].unflatten(-1, (2, -1)).repeat_interleave(2, dim=2)  # two key-value heads for four query heads
    z = torch.einsum("bhqk,bkhd->bqhd", clean, value).flatten(2)
    difference = float((z - seen["z"]).abs().max())
    assert difference < 1e-5 if freeze else difference > 1e-2


def test_frozen_attention_is_predicted_as_it_is_measured(problem: Problem) -> None:
    one = change(problem, "ablate", "resid_post:0/error", *(f"resid_post:0/latent:{i}" for i in range(96)))
    found = measure(one, freeze=True, steps=40)
    torch.testing.assert_close(found.predicted, found.change, atol=5e-3, rtol=5e-3)
    assert float((found.after - measure(one).after).abs().max()) > 1e-2
    bare = problem.run(torch.arange(4))  # nothing of the freezing is left behind
    torch.testing.assert_close(bare, problem.clean_logits[:4])


def test_a_model_that_has_never_run_is_frozen_too(
    tiny_model: Path, pairs: list[Pair], problem: Problem, dictionaries: dict[Site, Dictionary]
) -> None:
    """A pass that begins at a site first asks the model what its blocks return, by a pass of its own."""
    fresh = Problem.of(Subject.open(str(tiny_model)), dictionaries, pairs, batch=5)
    first, second = (change(one, "ablate", "resid_post:0/latent:3") for one in (fresh, problem))
    torch.testing.assert_close(predict(first, freeze=True, steps=2), predict(second, freeze=True, steps=2))


def test_a_model_whose_attention_is_out_of_reach_says_so() -> None:
    with (
        pytest.raises(Mistake, match="The attention of hist cannot be reached"),
        frozen(TracrModel("hist"), lambda: None),
    ):
        pass


def by_hand(subject: Subject, tokens: Sequence[int], steps: int, site: Site, added: torch.Tensor) -> list[int]:
    """Greedy text by a loop over transformers' own model, a vector added to the block's output at every position."""
    block = subject.model.model.layers[site.layer]
    handle = block.register_forward_hook(
        lambda _m, _i, out: (out[0] + added, *out[1:]) if isinstance(out, tuple) else out + added
    )
    ids = list(tokens)
    try:
        for _ in range(steps):
            ids.append(int(subject.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    finally:
        handle.remove()
    return ids[len(tokens) :]


@torch.no_grad()
def test_generated_text_is_the_models_own_and_the_edit_holds_for_new_tokens(problem: Problem) -> None:
    subject, site = problem.model, Site(0)
    assert isinstance(subject, Subject)
    prompt = problem.clean[3].tolist()
    nothing = torch.zeros(subject.d_model)
    assert generate(problem, 3, 6) == by_hand(subject, prompt, 6, site, nothing)
    steering = change(problem, "add", f"{site}/latent:5", amount=30.0)
    moved = 30.0 * problem.mediators[site].W_dec[5]
    assert generate(problem, 3, 6, steering) == by_hand(subject, prompt, 6, site, moved)
    assert generate(problem, 3, 6, steering) != generate(problem, 3, 6)
    assert len(generate(problem, 3, 3, steering, freeze=True)) == 3


def test_new_tokens_take_the_mean_reference_and_keep_what_has_a_place(problem: Problem) -> None:
    site, rows = Site(0), torch.tensor([1])
    latent = live(problem, site, 2)[0]
    x = torch.cat([problem.states[site].x[rows], problem.states[site].x[rows, -2:]], dim=1)
    everywhere = change(problem, "ablate", f"{site}/latent:{latent}").at(site, rows, x)
    value = problem.mediators[site].encode(x)[..., latent]
    own = problem.states[site].f_patch[rows][..., latent]
    expected = torch.cat([own, own.mean(1, keepdim=True).expand(-1, 2)], dim=1)
    moved = (expected - value)[..., None] * problem.mediators[site].W_dec[latent]
    torch.testing.assert_close(everywhere, x + moved, atol=1e-5, rtol=1e-5)
    here = change(problem, "ablate", f"{site}/latent:{latent}@2").at(site, rows, x)
    assert torch.equal(here[:, -2:], x[:, -2:])


def test_prompts_of_unequal_length_are_changed_as_each_alone(
    subject: Subject, pairs: list[Pair], dictionaries: dict[Site, Dictionary]
) -> None:
    """Padding neither takes part in the mean reference nor changes a result."""
    longer = [
        Pair((*p.clean, 40), (*p.counterfactual, 40), p.answer, p.counter_answer, (*p.roles, p.roles[-1]), p.text, "")
        for p in pairs[:3]
    ]
    mixed = Problem.of(subject, dictionaries, [*longer, *pairs[3:6]])
    alone = Problem.of(subject, dictionaries, pairs[3:6])
    names = [f"{Site(0)}/latent:{i}" for i in range(0, 96, 5)]
    torch.testing.assert_close(
        measure(change(mixed, "ablate", *names)).after[3:], measure(change(alone, "ablate", *names)).after
    )
    assert generate(mixed, 4, 3, change(mixed, "ablate", *names)) == generate(
        alone, 1, 3, change(alone, "ablate", *names)
    )


def test_random_nodes_are_as_many_of_the_same_sites_and_places(problem: Problem) -> None:
    like = [Target.parse(n) for n in ("resid_post:0/latent:3@2", "resid_post:0/error@2", "resid_post:1/latent:3")]
    one, again, other = (random_targets(problem, like, whole=True, seed=s) for s in (1, 1, 2))
    assert one == again != other
    count = Counter((t.site, t.place) for t in one)
    assert count == {(Site(0), 2): 2, (Site(1), None): 1}
    drawn = {t for seed in range(60) for t in random_targets(problem, like[:1], whole=False, seed=seed)}
    active = ((problem.states[Site(0)].f[:, 2] != 0) | (problem.states[Site(0)].latent_change[:, 2] != 0)).any(0)
    assert {t.latent for t in drawn} <= {*active.nonzero()[:, 0].tolist(), 3}
    assert len(drawn) > 10


def test_heads_and_whole_sites_are_changed_too(subject: Subject, pairs: list[Pair]) -> None:
    from circuits.mediators import mediator

    sites = {
        Site(1, "attn_z"): mediator("heads", subject, Site(1, "attn_z")),
        Site(1, "mlp_out"): mediator("sites", subject, Site(1, "mlp_out")),
    }
    problem = Problem.of(subject, sites, pairs)
    for name in ("attn_z:1/head:2@5", "mlp_out:1/site:0@5"):
        exact = verify.exact_effects(problem, [Node.parse(name)]).mean
        assert float(measure(change(problem, "ablate", name)).change.mean()) == pytest.approx(-float(exact), abs=1e-5)
    with pytest.raises(Mistake, match=r"attn_z:1/head:2 is a vector, which has no one value to clamp\. Ablate, scale"):
        change(problem, "clamp", "attn_z:1/head:2", amount=1)


@pytest.mark.parametrize("name", parts.names("circuits.interventions"))
def test_every_way_says_what_it_needs(name: str, problem: Problem) -> None:
    part = parts.load("circuits.interventions", name)
    if part.AMOUNT:
        with pytest.raises(Mistake, match=f"--do {name} needs --amount"):
            interventions.load(name, None)
    else:
        with pytest.raises(Mistake, match=f"--do {name} takes no amount"):
            interventions.load(name, 1.0)
    amount = 2.0 if part.AMOUNT else None
    assert float(measure(change(problem, name, "resid_post:0/latent:3", amount=amount)).change.abs().sum()) >= 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resid_post:0/latent:96", r"resid_post:0 has 96 latents \(0 to 95\)"),
        ("resid_post:0/latent:3@9", r"these prompts have no place 9\. Places: 0 prefix, 1 The"),
        ("resid_post:0/head:3", "the nodes at resid_post:0 are latents, not heads"),
        ("mlp_out:0/latent:3", "is at mlp_out:0, where no node is; there are nodes at resid_post:0, resid_post:1"),
        ("resid_post:0/latent@3", "is not a node that can be changed"),
        ("logit@3", "is not a node that can be changed"),
        ("latent 7", "is not a node; write SITE/latent:INDEX@POSITION"),
    ],
)
def test_wrong_names_are_answered(problem: Problem, name: str, said: str) -> None:
    with pytest.raises(Mistake, match=said):
        change(problem, "ablate", name)


def test_nodes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "nodes.txt"
    path.write_text("# two features\nresid_post:10/latent:7\n\nresid_post:10/latent:7@4\nresid_post:10/latent:7\n")
    assert [str(t) for t in named(str(path))] == ["resid_post:10/latent:7", "resid_post:10/latent:7@4"]
    assert named("resid_post:10/latent:7, resid_post:10/error@2")[1] == Target(Site(10), "error", None, 2)
    with pytest.raises(Mistake, match=r"nowhere\.txt' cannot be read: No such file or directory"):
        named("nowhere.txt")
    path.write_text("# nothing\n")
    with pytest.raises(Mistake, match=r"nodes\.txt' names no node; write one on each line"):
        named(str(path))
    with pytest.raises(Mistake, match="No node is named"):
        named("")


def run(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str, str]:
    status = lacewing.main(given)
    out, err = capsys.readouterr()
    return status, out, err


def test_the_verb_on_a_task(workspace: Workspace, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        "intervene", "agreement", "--nodes", "attn_z:1/head:0,attn_z:1/head:1@5", "--model", str(tiny_model),
        "--pairs", "16", "--draws", "2", "--generate", "4", "--control", "agreement", "--workspace", str(workspace.folder),
    ]  # fmt: skip
    status, out, err = run(capsys, *given)
    assert status == 0, err
    row = queries.rows(workspace, "select * from interventions")[0]
    assert out.startswith(
        f"Intervention {row['intervention']}: ablate (to counterfactual) attn_z:1/head:0, attn_z:1/head:1@5"
    )
    for said in ("change, predicted", "change, measured", "change by random", "Control task agreement", "Text after"):
        assert said in out
    assert row["measured"] == pytest.approx(row["after"] - row["before"], abs=1e-5)
    assert row["measured_lower"] < row["measured"] < row["measured_upper"]
    assert (row["size"], row["examples"], row["control_task"]) == (2, 8, "agreement")
    assert row["nodes"] == ["attn_z:1/head:0", "attn_z:1/head:1@5"]
    assert len(row["details"]["measured"]) == 8
    assert sum(row["details"]["by_site"].values()) == pytest.approx(row["predicted"], abs=1e-5)
    assert run(capsys, *given)[1] == out  # an equal run is not repeated
    assert len(queries.rows(workspace, "select * from runs")) == 1


def test_the_verb_on_a_prompt(workspace: Workspace, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--model", str(tiny_model), "--workspace", str(workspace.folder), "--draws", "1"]
    prompt = ["--prompt", "The keys near the cabinet"]
    given = ["--nodes", "resid_post:0/neuron:3", "--do", "clamp", "--amount", "8", "--generate", "2"]
    status, out, _ = run(capsys, "intervene", *prompt, *given, *at)
    assert status == 0
    assert 'On 1 prompt, so without intervals, such as "The keys near the cabinet"' in out
    assert "log-probability before" in out
    nodes = ["--nodes", "resid_post:0/site:0@2"]
    other = ["--counterfactual", "The key near the cabinet", "--answers", " are| is", "--do", "swap"]
    status, out, err = run(capsys, "intervene", *prompt, *other, *nodes, *at)
    assert status == 0, err
    assert "logit difference" in out
    for wrong, said in (
        (["--counterfactual", "The key"], "they need as many tokens each"),
        (["--answers", " are there"], "an answer is one, most often with a space in front"),
        (["--do", "swap"], "The reference 'counterfactual' needs a counterfactual for every prompt"),
        (["--do", "scale"], "--do scale needs --amount, the factor"),
        (["--do", "swap", "--reference", "zero"], "--reference zero contradicts it"),
        (["--do", "ablait"], "There is no intervention 'ablait'. Did you mean 'ablate'?"),
        (["--attention", "fixed"], "There is no kind of attention 'fixed'. Known: free, frozen."),
        (["--circuit", "abc"], "There is no circuit 'abc'"),
    ):
        status, _, err = run(capsys, "intervene", *prompt, *nodes, *wrong, *at)
        assert status == 2
        assert said in err


def test_the_verb_on_a_circuit(workspace: Workspace, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace.folder)]
    small = "--sites attn_z:1 --mediators heads --pairs 8 --verify 1 --nodes 6 --edge-nodes 2 --draws 1"
    traced = ["--model", str(tiny_model), *small.split()]
    status, out, err = run(capsys, "circuit", "agreement", *traced, *at)
    assert status == 0, err
    status, shown, err = run(capsys, "intervene", "--circuit", out.strip(), "--first", "3", "--draws", "1", *at)
    assert status == 0, err
    row = queries.rows(workspace, "select * from interventions")[0]
    ranked = [n["node"] for n in queries.nodes(workspace, out.strip()) if n["kind"] != "logit"]
    assert row["nodes"] == ranked[:3]
    assert (row["task"], row["examples"], row["circuit"]) == ("agreement", 4, out.strip())
    _, said, _ = run(capsys, "intervene", "--circuit", out.strip(), "--nodes", ranked[4], "--draws", "1", *at)
    named = queries.rows(workspace, "select * from interventions where size = 1")[0]
    assert (named["nodes"], named["circuit"], named["task"]) == ([ranked[4]], out.strip(), "agreement")
    assert named["examples"] == 4, said  # the circuit's own pairs
    refused = run(capsys, "intervene", "--circuit", out.strip(), "--prompt", "The key", *at)
    assert "are at 6 places (prefix, The, subject, preposition, the, attractor)" in refused[2]
    assert "There is no circuit 'zzz'" in run(capsys, "intervene", "--circuit", "zzz", *at)[2]
    assert shown
