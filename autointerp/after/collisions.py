"""How many features share a label: a score by windows is blind to it, since each label is tested against silence alone.

1. Shared: the share of features whose label another feature has too, letter for letter but for case and white space.
2. Nearly shared: the share of features with another's label within a cosine that labels reach by accident once in twenty
   times. Accident is measured: the words of all different labels are dealt anew, each label keeping its number, and the
   bar is the `QUANTILE` of the cosine with the nearest other one. By construction the null is at 1 - `QUANTILE`.
3. Unique labels over features, and the labels that most features share.

The interval is over features, whose labels stay as they are: drawing features with replacement would make labels equal.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from autointerp.after import cosines
from autointerp.after.collisions_config import CollisionsConfig
from autointerp.after.findings import Finding, means, store, text_of
from autointerp.after.labels import of_run
from autointerp.bootstrap import weights
from autointerp.records import Explanation
from autointerp.tools import Tools
from data import runs
from data.errors import Mistake
from data.store import Workspace

QUANTILE = 0.95
LISTED = 20
NEARLY = "share of features with a nearly equal label"


def shown(workspace: Workspace, config: CollisionsConfig) -> str:
    """`lacewing collisions`: the findings as text, the run's id in the first line."""
    return text_of(workspace, collisions(workspace, config))


def collisions(workspace: Workspace, config: CollisionsConfig) -> str:
    """Looks for labels that features share, or finds an equal run that is done; the run's id. Raises `Mistake`."""
    labels = of_run(workspace, config.explanations)
    if len(labels) < 2:
        raise Mistake(f"That explain run has {len(labels)} features with a label; sharing one takes two.")
    inputs = {"explanations": [label.explanation for label in labels]}
    if done := runs.finished(workspace, "collisions", config, inputs):
        return done
    with runs.start(workspace, "collisions", config, seed=config.seed, inputs=inputs) as run:
        with Tools(workspace, config.seed) as tools:
            found = [shared(labels, config.seed), nearly(labels, tools, config.seed)]
        store(run, found)
        run.summary |= {"features": len(labels), "unique": found[0].details["unique"]}
    return run.run


def folded(text: str) -> str:
    """`text` without its case and with single blanks."""
    return " ".join(text.casefold().split())


def shared(labels: Sequence[Explanation], seed: int) -> Finding:
    """The share of features whose label another has too. There is no null: labels need not be equal by accident."""
    texts = [folded(label.text) for label in labels]
    count = Counter(texts)
    rows = np.array([[count[text] > 1 for text in texts]], dtype=float)
    most = [[text, times] for text, times in count.most_common(LISTED) if times > 1]
    details = {"unique": len(count), "features_per_label": len(texts) / len(count), "most": most}
    draws = means(rows, weights(np.arange(len(texts)), seed))
    return Finding.of(_about(labels), "share of features with a shared label", draws, len(texts), details=details)


def nearly(labels: Sequence[Explanation], tools: Tools, seed: int) -> Finding:
    """The share of features with another's label nearer than labels come by accident; the control is that of the null."""
    texts = [label.text for label in labels]
    null = dealt(list({folded(text): text for text in texts}.values()), seed)
    if len(null) < 2:
        return Finding.none(_about(labels), NEARLY, "all labels are equal, so there are no words to deal anew")
    vectors, random = (cosines.unit(tools.embedder(some)) for some in (texts, null))
    near, chance = (cosines.nearest(rows, rows, apart=True) for rows in (vectors, random))
    bar = float(np.quantile(chance.cosine, QUANTILE))
    rows = [(found.cosine > bar).astype(float)[None] for found in (near, chance)]
    draws = np.concatenate([means(row, weights(np.arange(row.shape[1]), seed)) for row in rows])
    order: list[int] = np.argsort(-near.cosine, kind="stable")[:LISTED].tolist()
    nearest = [[str(labels[i].feature), str(labels[int(near.row[i])].feature), round(float(near.cosine[i]), 4)]
               for i in order]  # fmt: skip
    details = {"cosine_above": round(bar, 4), "quantile": QUANTILE, "nearest": nearest, "null": len(null)}
    return Finding.of(
        _about(labels), NEARLY, draws, len(texts), against="labels of the same words dealt anew", details=details
    )


def dealt(texts: Sequence[str], seed: int) -> list[str]:
    """As many labels of as many words each, the words of all dealt anew."""
    split = [text.split() for text in texts]
    words = np.random.default_rng(seed).permutation([word for row in split for word in row]).tolist()
    ends = np.cumsum([0, *map(len, split)]).tolist()
    return [" ".join(words[begin:end]) for begin, end in itertools.pairwise(ends)]


def _about(labels: Sequence[Explanation]) -> str:
    return " ".join(sorted({label.feature.dictionary for label in labels}))
