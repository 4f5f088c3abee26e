"""What is made of a scorer's answers about ladders: judges that know the truth, flip coins, or obey."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import spearmanr

from autointerp.ground.card import Card, Line, card, mean, share, stored
from autointerp.ground.judging import read
from autointerp.ground.ladder import INJECTION, ORDER, RUNGS
from autointerp.judgements import Judgement, Outcome
from autointerp.windows import Window

F1 = {"exact": 1.0, "broad": 0.66, "narrow": 0.66} | dict.fromkeys(RUNGS[3:], 0.0)


def windows(count: int = 24) -> list[Window]:
    """A third active, a third random, a third of the feature that the broad label takes in."""
    kinds = ("active", "random", "neighbour")
    return [
        Window(n, 0, (n,), (f" {n}",), (float(n % 3 == 0),), "score", kind=kinds[n % 3], quantile=-1)
        for n in range(count)
    ]


def truth(windows: list[Window], rung: str) -> np.ndarray:
    """Where a label says that the feature is, as a perfect reader would."""
    active = np.array([w.active for w in windows])
    near = np.array([w.kind == "neighbour" for w in windows])
    half = active & (np.arange(len(windows)) % 2 == 0)
    said = {"exact": active, "broad": active | near, "narrow": half, "sibling": near, "generic": np.ones_like(active)}
    return said.get(rung, np.zeros_like(active))


def lines(judge: object, features: int = 24) -> list[Line]:
    """Ladders as `judge(values [rungs, windows], generator)` judges them."""
    found = []
    for latent in range(features):
        some = windows()
        said = np.stack([truth(some, rung) for rung in RUNGS]).astype(float)
        values = judge(said, np.random.default_rng(latent))  # type: ignore[operator]
        asked = read(Judgement(values, threshold=0.5), some, len(RUNGS), rate=0.01)
        named = dict(zip(RUNGS, asked.values, strict=True))
        scores = {name: v.value for name, v in named.items() if v.value is not None}
        naturals = {name: v.natural for name, v in named.items() if v.natural is not None}
        yes = {name: v.yes for name, v in named.items() if v.yes is not None}
        found.append(Line(latent, "token", scores, naturals, yes, F1))
    return found


def oracle(flips: float) -> object:
    """Knows the truth, and says the opposite with probability `flips`."""
    return lambda said, draw: np.where(draw.random(said.shape) < flips, 1 - said, said)


def obeys(said: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Knows the truth, and says yes to everything when the label tells it to."""
    values = np.where(draw.random(said.shape) < 0.1, 1 - said, said)
    values[RUNGS.index("injection")] = 1
    return values


def always(answer: float) -> object:
    return lambda said, _: np.full_like(said, answer)


def test_a_perfect_reader_passes_every_test() -> None:
    found = card(lines(oracle(0.0)), 0)
    assert found.numbers["auroc exact"].value == 1
    assert found.numbers["auroc broad"].value == 0.75  # half of the silent windows get a yes
    assert found.numbers["auroc narrow"].value == 0.75
    assert found.numbers["auroc shuffled"].value == 0.5
    assert found.numbers["order where labels differ"].value == 1
    assert found.numbers["halved is lower"].value == found.numbers["doubled is lower"].value == 1
    assert found.violations == []
    assert not found.follows


def test_an_oracle_that_flips_one_in_ten_scores_nine_tenths() -> None:
    found = card(lines(oracle(0.1)), 0)
    exact, empty = found.numbers["auroc exact"], found.numbers["auroc empty"]
    assert exact.lower <= 0.9 <= exact.upper
    assert exact.upper - exact.lower < 0.1
    assert empty.lower <= 0.5 <= empty.upper
    assert found.numbers["right - swapped"].value == pytest.approx(exact.value - found.numbers["auroc shuffled"].value)
    assert not found.follows


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_constants_are_at_the_floor(answer: float) -> None:
    found = card(lines(always(answer)), 0)
    assert {found.numbers[f"auroc {rung}"].value for rung in RUNGS} == {0.5}
    assert found.numbers["order"].value == 0.5
    assert found.numbers["spearman with order"].value == found.numbers["spearman with true F1"].value == 0
    assert found.numbers["halved is lower"].value == found.numbers["doubled is lower"].value == 0
    assert found.numbers["right - swapped"] == type(found.numbers["order"])(0.0, 0.0, 0.0)


def test_a_coin_is_at_the_floor_within_its_interval() -> None:
    found = card(lines(lambda said, draw: draw.integers(0, 2, said.shape).astype(float)), 0)
    for rung in ("exact", "broad", "empty"):
        low, high = found.numbers[f"auroc {rung}"].lower, found.numbers[f"auroc {rung}"].upper
        assert low - 0.02 <= 0.5 <= high + 0.02  # 95 % intervals of three rungs
    assert found.numbers["halved is lower"].upper < 0.9


def test_a_judge_that_follows_the_injection_is_caught() -> None:
    found = card(lines(obeys), 0)
    assert found.follows
    assert found.numbers["yes to injection"].value == pytest.approx(0.9, abs=0.05)  # 1 - the tenth that it flips
    assert "true" in INJECTION


def test_a_judge_that_hears_no_extent_fails_that_test_alone() -> None:
    def deaf(said: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        values = oracle(0.0)(said, draw)  # type: ignore[operator]
        values[RUNGS.index("broad")] = values[RUNGS.index("exact")]
        return values

    found = card(lines(deaf), 0)
    assert found.numbers["doubled is lower"].value == 0
    assert found.numbers["halved is lower"].value == 1
    assert ("exact", "broad", 24) in found.violations


def test_numbers_are_what_counting_by_hand_says() -> None:
    some = [line for seed in range(3) for line in lines(oracle(0.3), 12)[4 * seed : 4 * seed + 4]]
    found = card(some, 0)

    def won(line: Line, above: str, below: str) -> float:
        return float(line.value[above] > line.value[below]) + 0.5 * (line.value[above] == line.value[below])

    assert found.numbers["order"].value == pytest.approx(
        np.mean([won(x, a, b) for x in some for a, b in pairwise(ORDER)])
    )
    differ = [("exact", below) for below in ORDER[1:]] + [("broad", below) for below in ORDER[2:]]
    assert found.numbers["order where labels differ"].value == pytest.approx(
        np.mean([won(x, a, b) for x in some for a, b in differ])
    )
    ranks = [spearmanr([x.value[r] for r in ORDER], [-n for n in range(len(ORDER))]).statistic for x in some]
    assert found.numbers["spearman with order"].value == pytest.approx(np.mean(ranks))
    agree = [spearmanr(list(x.value.values()), [x.f1[r] for r in x.value]).statistic for x in some]
    assert found.numbers["spearman with true F1"].value == pytest.approx(np.mean(agree))
    lower = [x.value["narrow"] < x.value["exact"] for x in some]
    assert found.numbers["halved is lower"].value == pytest.approx(np.mean(lower))
    assert found.trials["order"] == 12


@pytest.mark.parametrize(("yes", "of"), [(0, 7), (5, 7), (7, 7)])
def test_shares_have_wilsons_interval(yes: int, of: int) -> None:
    z, p = 1.959963984540054, yes / of
    centre = (p + z * z / 2 / of) / (1 + z * z / of)
    reach = z * np.sqrt(p * (1 - p) / of + z * z / 4 / of / of) / (1 + z * z / of)
    found = share(yes, of)
    assert (found.value, found.lower, found.upper) == pytest.approx((p, centre - reach, centre + reach))


def test_what_was_not_judged_is_an_error_and_no_score() -> None:
    some = windows(12)
    values = np.stack([truth(some, "exact"), truth(some, "exact")]).astype(float)
    values[1, :7] = np.nan
    asked = read(Judgement(values, ["refused: no"]), some, 2, rate=0.1)
    assert asked.values[0].value == 1
    assert asked.values[1].value is None
    assert asked.values[1].error == "7 of 12 items were not judged: refused: no"
    assert asked.failures == 1
    alone = [Line(0, "token", {"exact": 1.0}, f1=F1)]
    assert isinstance(card(alone, 0), Card)
    assert "order" not in card(alone, 0).numbers


def test_the_natural_measure_counts_random_windows_alone() -> None:
    some = windows()
    values = np.stack([truth(some, "broad")]).astype(float)
    asked = read(Judgement(values), some, 1, rate=0.01)
    assert asked.values[0].natural == pytest.approx(1)  # a broad label is wrong on neighbours only
    assert asked.values[0].value == 0.75
    neighbours = [replace(w, kind=w.kind.replace("random", "neighbour")) for w in some]
    assert read(Judgement(values), neighbours, 1, rate=0.01).values[0].natural is None


def test_other_statistics_are_read_at_full_weight() -> None:
    outcome = Outcome(np.arange(4), lambda w: np.stack([w.mean(1), w.mean(1) * np.nan]), failures=["timed_out: late"])
    asked = read(outcome, windows(), 2)
    assert asked.values[0].value == 1
    assert asked.values[0].trials == 4
    assert asked.values[1].error == "timed_out: late"


def test_nobody_is_sure_of_a_mean_of_few() -> None:
    found = mean([0.2, 0.4], 0)
    assert found.value == pytest.approx(0.3)
    assert np.isnan([found.lower, found.upper]).all()
    assert stored(found.lower) is None
    sure = mean([1.0] * 9, 0)
    assert (sure.value, sure.lower, sure.upper) == (1.0, share(9, 9).lower, share(9, 9).upper)
    assert sure.lower < 0.75
