"""Claims against the judge's own clock."""

from BackendBench.vllm_backend.evaluation.timing.clock_check import TimedBlock, believed, tampered

EAGER = [TimedBlock([1000.0] * 4, 4800.0)] * 5


def test_honest_claims_pass_whether_faster_or_slower():
    for each in (50.0, 500.0, 1000.0, 5000.0):
        assert tampered(EAGER, [TimedBlock([each] * 4, 4 * each + 800.0)] * 5) == ""


def test_a_claim_far_below_the_wall_is_tampering():
    assert tampered(EAGER, [TimedBlock([100.0] * 4, 4800.0)] * 5)


def test_zero_negative_and_nan_claims_are_tampering():
    for claim in (0.0, -1.0, float("nan")):
        assert tampered(EAGER, [TimedBlock([claim] * 4, 4800.0)] * 5)


def test_more_than_the_wall_is_no_honest_claim_either():
    assert tampered(EAGER, [TimedBlock([5000.0] * 4, 4800.0)] * 5)


def test_one_slow_wake_up_accuses_nobody():
    blocks = [TimedBlock([500.0] * 4, 2700.0)] * 6 + [TimedBlock([500.0] * 4, 50_000.0)]
    assert tampered(EAGER[:1] * 7, blocks) == ""


def test_a_lie_in_some_pairs_drops_these_pairs():
    honest, lie = TimedBlock([900.0] * 4, 4400.0), TimedBlock([100.0] * 4, 4400.0)
    blocks = [honest, lie, honest, honest, lie]
    assert tampered(EAGER, blocks) == ""
    assert believed(EAGER, blocks) == [True, False, True, True, False]


def test_waiting_for_a_busy_core_is_not_held_against_the_candidate():
    waited = TimedBlock([500.0] * 4, 50_000.0, cpu=2600.0)
    worked = TimedBlock([500.0] * 4, 50_000.0, cpu=90_000.0)
    assert tampered(EAGER, [waited] * 5) == ""
    assert tampered(EAGER, [worked] * 5)


def test_work_that_hides_in_the_delivery_is_found():
    eager = [TimedBlock([1000.0] * 4, 4200.0, 4100.0, delivery=900.0)] * 5
    assert tampered(eager, [TimedBlock([500.0] * 4, 2200.0, 2100.0, delivery=1000.0)] * 5) == ""
    assert "handing over" in tampered(eager, [TimedBlock([5.0] * 4, 220.0, 200.0, delivery=2900.0)] * 5)


def test_a_gpu_has_less_room_for_what_is_not_claimed():
    eager = [TimedBlock([90.0] * 16, 5000.0, 5000.0)] * 5  # 3,560 us of overhead
    assert tampered(eager, [TimedBlock([90.0] * 16, 5100.0, 5100.0)] * 5) == ""
    assert tampered(eager, [TimedBlock([45.0] * 16, 4280.0, 4280.0)] * 5) == ""
    assert tampered(eager, [TimedBlock([20.0] * 16, 5000.0, 5000.0)] * 5)


def test_being_held_up_by_the_judge_is_no_room_to_hide_in():
    eager = [TimedBlock([50.0] * 2, 6600.0, 6600.0, held=5000.0)] * 5  # 1,500 us of overhead
    assert tampered(eager, [TimedBlock([40.0] * 2, 6590.0, 6590.0, held=5000.0)] * 5) == ""
    hidden = TimedBlock([1.0] * 2, 6600.0 + 600.0, 6600.0 + 600.0, held=5000.0)
    assert tampered(eager, [hidden] * 5)
    longer = [TimedBlock([50.0] * 2, 2600.0, 2600.0, held=1000.0)] * 5
    assert tampered(longer, [hidden] * 5)


def test_a_disturbance_of_eager_does_not_make_a_lie_believable():
    disturbed = TimedBlock([1000.0] * 4, 20_000.0)
    eager = [TimedBlock([1000.0] * 4, 4300.0)] * 6 + [disturbed] * 4
    lies = [TimedBlock([100.0] * 4, 4300.0)] * 10
    assert not any(believed(eager, lies))
    assert tampered(eager, lies)
