"""The arithmetic of speedups: known quantiles, coverage of the interval, when to stop."""

import math
import random

import pytest

from BackendBench.vllm_backend.evaluation import interval
from BackendBench.vllm_backend.evaluation.interval import Pair


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (14, 2.145), (39, 2.023), (200, 1.972)],
)
def test_student_t_agrees_with_the_tables(degrees, quantile):
    assert interval.student_t(0.95, degrees) == pytest.approx(quantile, rel=0.005)


def noisy_pairs(rng, true_ratio, count, noise=0.05):
    drift = [math.exp(rng.gauss(0, 0.3)) for _ in range(count)]  # common to both halves of a pair
    return [
        Pair(
            [true_ratio * 100 * d * math.exp(rng.gauss(0, noise)) for _ in range(3)],
            [100 * d * math.exp(rng.gauss(0, noise)) for _ in range(3)],
        )
        for d in drift
    ]


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says():
    rng = random.Random(1)
    hits = sum(
        ratio.low <= 1.3 <= ratio.high
        for ratio in (interval.estimate(noisy_pairs(rng, 1.3, 15)) for _ in range(400))
    )
    assert hits / 400 > 0.92


def test_an_interval_needs_two_pairs():
    with pytest.raises(ValueError):
        interval.estimate([Pair([1.0], [1.0])])


def test_a_clear_loser_stops_early_and_a_close_race_goes_on():
    rng = random.Random(2)
    assert interval.decisive(noisy_pairs(rng, 0.2, interval.MIN_PAIRS))
    assert not interval.decisive(noisy_pairs(rng, 0.2, interval.MIN_PAIRS - 1))
    assert not interval.decisive(noisy_pairs(rng, 1.02, interval.MIN_PAIRS))
    assert interval.decisive(noisy_pairs(rng, 1.02, interval.MAX_PAIRS))


def test_the_mean_over_workloads_is_geometric_and_its_interval_holds_it():
    one = interval.Ratio(200, 100, 2.0, 1.8, 2.2, 10)
    two = interval.Ratio(50, 100, 0.5, 0.45, 0.55, 10)
    speedup, low, high = interval.combine([one, two])
    assert speedup == pytest.approx(1.0)
    assert 0.9 < low < 1.0 < high < 1.1
    assert high / low < one.high / one.low  # two measurements know more than one


def test_doing_a_whole_block_in_its_first_call_gains_nothing():
    honest = [Pair([100.0] * 4, [100.0] * 4)] * 5
    ahead = [Pair([100.0] * 4, [397.0, 1.0, 1.0, 1.0])] * 5
    assert interval.estimate(ahead).speedup == pytest.approx(interval.estimate(honest).speedup)


def test_a_few_disturbed_pairs_neither_move_nor_widen_the_result_much():
    rng = random.Random(3)
    quiet = noisy_pairs(rng, 1.1, 40, noise=0.005)
    disturbed = [
        Pair(p.eager, [4 * t for t in p.candidate]) if i % 13 == 0 else p for i, p in enumerate(quiet)
    ]
    before, after = interval.estimate(quiet), interval.estimate(disturbed)
    assert after.speedup == pytest.approx(before.speedup, rel=0.005)
    assert after.half_width < 3 * before.half_width


def test_drift_that_both_halves_of_a_pair_share_does_not_move_the_ratio():
    drifting = [Pair([100.0 * (1 + i)], [50.0 * (1 + i)]) for i in range(8)]
    ratio = interval.estimate(drifting)
    assert ratio.speedup == pytest.approx(2.0)
    assert ratio.high - ratio.low < 1e-6
