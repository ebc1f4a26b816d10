"""The arithmetic of speedups: known quantiles, coverage of the interval, when to stop."""

import math
import random

import pytest

from BackendBench.vllm_backend.evaluation.timing import interval
from BackendBench.vllm_backend.evaluation.timing.interval import Pair


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
    assert interval.decisive(noisy_pairs(rng, 0.2, interval.CLEAR_PAIRS))
    assert not interval.decisive(noisy_pairs(rng, 0.2, interval.CLEAR_PAIRS - 1))
    assert not interval.decisive(noisy_pairs(rng, 1.02, interval.MIN_PAIRS))
    assert interval.decisive(noisy_pairs(rng, 1.02, interval.MAX_PAIRS))


@pytest.mark.parametrize(("scatter", "enough"), [(0.003, True), (0.012, False)])
def test_a_clear_winner_stops_early_where_its_interval_is_narrow(scatter: float, enough: bool):
    """A wide one on one workload would hide that a kernel wins on all together, and then it is not measured anew."""
    pairs = [Pair([130.0 * (1 + scatter * by)], [100.0]) for by in (-1, 0, 1)]
    assert interval.estimate(pairs).low > interval.CLEARLY_FASTER
    assert interval.decisive(pairs) is enough
    assert not interval.decisive(pairs[:2])


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


def ratio(speedup, spread=0.02, pairs=15):
    return interval.Ratio(
        100 * speedup, 100.0, speedup, speedup * (1 - spread), speedup * (1 + spread), pairs
    )


def test_the_mean_of_one_workload_is_that_workload():
    assert interval.combine([ratio(1.3)]) == pytest.approx((1.3, 1.3 * 0.98, 1.3 * 1.02))


def test_more_workloads_alike_narrow_the_interval_with_the_square_root_of_their_number():
    _, low_of_one, _ = interval.combine([ratio(1.3)])
    speedup, low, high = interval.combine([ratio(1.3)] * 4)
    assert speedup == pytest.approx(1.3)
    assert math.log(1.3 / low) == pytest.approx(math.log(1.3 / low_of_one) / 2)
    assert low < 1.3 < high


def test_a_noisy_workload_widens_the_interval_of_the_mean():
    _, low, high = interval.combine([ratio(1.3), ratio(1.3)])
    _, lower, higher = interval.combine([ratio(1.3), ratio(1.3, spread=0.3)])
    assert lower < low and high < higher


def test_one_slow_workload_outweighs_a_fast_one_as_much():
    assert interval.combine([ratio(4.0), ratio(0.25)])[0] == pytest.approx(1.0)


def test_the_interval_holds_the_estimate_and_both_median_times_are_known():
    found = interval.estimate([Pair([130.0], [100.0]), Pair([131.0], [99.0]), Pair([129.0], [101.0])])
    assert (found.eager_us, found.candidate_us) == (130.0, 100.0)
    assert found.speedup == pytest.approx(1.3, rel=1e-3)
    assert found.low < found.speedup < found.high
    assert found.pairs == 3
    assert found.half_width == pytest.approx((found.high - found.low) / (2 * found.speedup))


@pytest.mark.parametrize(
    ("each", "process_us", "share"),
    [(5.0, 0.055, 0.0), (12.0, 0.055, 0.0), (250.0, 0.055, 0.0), (250.0, 0.0, 0.015)],
)
def test_what_differs_between_processes_is_in_the_interval_and_in_no_block(each, process_us, share):
    rng, hits, bare = random.Random(4), 0, 0
    differs = process_us + share * each
    for _ in range(400):
        mine, theirs = each + rng.gauss(0, differs), each + rng.gauss(0, differs)
        pairs = [
            Pair([mine * math.exp(rng.gauss(0, 0.003))], [theirs * math.exp(rng.gauss(0, 0.003))])
            for _ in range(9)
        ]
        ratio = interval.estimate(pairs)
        wide = interval.widened(ratio, process_us, share)
        assert wide.low <= ratio.low < ratio.high <= wide.high
        bare += ratio.low <= 1.0 <= ratio.high
        hits += wide.low <= 1.0 <= wide.high
    assert hits / 400 > 0.92
    assert bare / 400 < 0.6 or differs / each < 0.01


def test_nothing_is_added_where_nothing_differs():
    found = interval.estimate([Pair([130.0], [100.0]), Pair([131.0], [99.0]), Pair([129.0], [101.0])])
    same = interval.widened(found, 0.0)
    assert (same.low, same.high) == pytest.approx((found.low, found.high))
    assert (same.speedup, same.pairs) == (found.speedup, found.pairs)


@pytest.mark.parametrize(("true_ratio", "enough"), [(0.97, True), (1.0, False), (1.3, True)])
def test_where_it_is_clear_which_one_is_faster_two_percent_are_enough(true_ratio, enough):
    spread = [0.988, 1.012, 1.0, 0.99, 1.01]  # half-width 1.4 %
    pairs = [Pair([100.0 * true_ratio * s], [100.0]) for s in spread]
    assert interval.TIGHT < interval.estimate(pairs).half_width < interval.SURE
    assert interval.decisive(pairs) is enough


def test_a_settled_ratio_is_decisive_whatever_it_is():
    for true_ratio in (0.97, 1.0, 1.5):
        steady = [Pair([100.0 * true_ratio], [100.0])] * interval.MIN_PAIRS
        assert interval.decisive(steady)
        clear = true_ratio < interval.CLEARLY_SLOWER or true_ratio > interval.CLEARLY_FASTER
        assert interval.decisive(steady[:-1]) is clear


def test_slower_but_not_clearly_is_worth_more_pairs():
    noisy = [Pair([90.0 * (1.1 if i % 2 else 0.9)], [100.0]) for i in range(6)]
    assert interval.estimate(noisy).high > interval.CLEARLY_SLOWER
    assert not interval.decisive(noisy)
