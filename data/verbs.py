"""The verbs of the `lacewing` command: what each is for, what it is told, and which function does it.

Places are names (`module:name`), so that a room is imported when one of its verbs is run, and `lacewing --help` is instant.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """A verb: its one-line help, and where its config and function are, as `module:name`."""

    help: str
    config: str
    run: str
    creates: bool = False
    """Whether it may make the workspace."""
    file: bool = False
    """Whether its options may come from a TOML file."""
    shared: bool = False
    """Whether several processes may do it together (`training.group`)."""
    alone: bool = False
    """Whether it needs no workspace."""


VERBS = {
    "demo": Verb("the whole path on a small real model, in one go", "lacewing:DemoConfig", "lacewing:demo", True),
    "train": Verb("train dictionaries", "training.config:TrainConfig", "training.train:train", True, True, True),
    "sweep": Verb(
        "train a grid and draw its front", "training.config:SweepConfig", "training.sweep:sweep", True, True, True
    ),
    "front": Verb("show the front of a sweep again", "training.front:FrontConfig", "training.front:front"),
    "resume": Verb("go on with a stopped training run", "training.config:ResumeConfig", "lacewing:resume", shared=True),
    "import": Verb(
        "bring in a dictionary trained elsewhere",
        "training.exchange_config:ImportConfig",
        "training.importing:import_dictionary",
        True,
    ),
    "export": Verb(
        "write a dictionary out for other tools",
        "training.exchange_config:ExportConfig",
        "training.exporting:export_dictionary",
    ),
    "doctor": Verb(
        "say what is wrong with a dictionary", "training.exchange_config:DoctorConfig", "training.doctor:doctor"
    ),
    "harvest": Verb("collect feature activations", "autointerp.config:HarvestConfig", "autointerp.harvest:harvest"),
    "circuit": Verb("trace and verify a circuit", "circuits.config:CircuitConfig", "circuits.discover:circuit"),
    "intervene": Verb(
        "change nodes of a running model", "circuits.intervene_config:InterveneConfig", "circuits.intervene:shown"
    ),
    "clusters": Verb(
        "find behaviours without a task", "circuits.clusters_config:ClustersConfig", "circuits.clusters:clusters"
    ),
    "export-circuit": Verb(
        "write a circuit out for other tools",
        "circuits.exchange_config:ExportCircuitConfig",
        "circuits.exchange:export_circuit",
    ),
    "import-circuit": Verb(
        "bring in a circuit from a file",
        "circuits.exchange_config:ImportCircuitConfig",
        "circuits.exchange:import_circuit",
        True,
    ),
    "practices": Verb(
        "metrics and corruptions side by side",
        "circuits.practices_config:PracticesConfig",
        "circuits.practices:practices",
    ),
    "explain": Verb("explain features", "autointerp.config:ExplainConfig", "autointerp.rehearsal:explain_or_forecast"),
    "score": Verb("score explanations", "autointerp.config:ScoreConfig", "autointerp.rehearsal:score_or_forecast"),
    "similar": Verb(
        "say how like two dictionaries are",
        "autointerp.after.similar_config:SimilarConfig",
        "autointerp.after.similar:shown",
    ),
    "collisions": Verb(
        "count features that share a label",
        "autointerp.after.collisions_config:CollisionsConfig",
        "autointerp.after.collisions:shown",
    ),
    "discriminate": Verb(
        "test whether labels tell features from their nearest",
        "autointerp.after.discriminate_config:DiscriminateConfig",
        "autointerp.after.discriminate:shown",
    ),
    "stability": Verb(
        "explain and score again with other seeds",
        "autointerp.after.stability_config:StabilityConfig",
        "autointerp.after.stability:shown",
    ),
    "counterexamples": Verb(
        "search for windows that contradict labels",
        "autointerp.after.counterexamples_config:CounterexamplesConfig",
        "autointerp.after.counterexamples:shown",
    ),
    "relabel": Verb(
        "score a label of your own at once",
        "autointerp.after.relabel_config:RelabelConfig",
        "autointerp.after.relabel:relabel",
    ),
    "added": Verb(
        "say what labels add over executable rules", "autointerp.added_config:AddedConfig", "autointerp.added:shown"
    ),
    "bench-autointerp": Verb(
        "try explainers and scorers on known features",
        "autointerp.bench_config:BenchAutointerpConfig",
        "autointerp.ground.bench:shown",
        True,
    ),
    "serve-llm": Verb(
        "serve a small language model here",
        "autointerp.serve_config:ServeConfig",
        "autointerp.serving:serve_llm",
        alone=True,
    ),
    "shift": Verb("free a probe from a spurious cue", "circuits.shift.config:ShiftConfig", "circuits.shift.run:shift"),
    "selftest": Verb(
        "find known circuits with this installation",
        "circuits.selftest_config:SelftestConfig",
        "lacewing:selftest",
        True,
    ),
    "diff": Verb(
        "say how two circuits differ, at a stated error rate", "circuits.diff_config:DiffConfig", "circuits.diff:diff"
    ),
    "paths": Verb("show a circuit's strongest paths", "circuits.paths_config:PathsConfig", "circuits.strongest:paths"),
    "plan-autointerp": Verb(
        "say what a million features would take, from what was measured",
        "autointerp.scale.plan_config:PlanConfig",
        "autointerp.scale.plan:plan_autointerp",
    ),
    "dashboard": Verb("browse it all", "dashboard.config:DashboardConfig", "dashboard.serve:serve", True),
    "sql": Verb("ask the store in SQL, read-only", "data.sql:SqlConfig", "lacewing:print_sql"),
    "runs": Verb("list the runs", "data.sql:RunsConfig", "lacewing:print_runs"),
}
