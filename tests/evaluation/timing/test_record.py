"""When enough was measured, and of what."""

from __future__ import annotations

import dataclasses

import pytest

from BackendBench.vllm_backend.evaluation.timing import interval
from BackendBench.vllm_backend.evaluation.timing.clock_check import LEAST_TRUSTED, TimedBlock, tampered
from BackendBench.vllm_backend.evaluation.timing.record import MOST_DOUBTED, MOST_LATE, Record

OVERHEAD_US = 2000.0


def block(each: float, *, unseen: float = 0.0, late: bool = False) -> TimedBlock:
    """Four calls on a GPU. ``unseen``: microseconds that the judge saw and nobody claims."""
    wall = 4 * each + OVERHEAD_US + unseen
    return TimedBlock([each] * 4, wall, wall, late=late)


def taken(record: Record, pairs: list[tuple[TimedBlock, TimedBlock]], fixed: int | None = None) -> int:
    """How many of these pairs are taken until it is enough."""
    for number, (eager, candidate) in enumerate(pairs):
        if record.enough(fixed, overdue=False):
            return number
        record.add(eager, candidate)
    return len(pairs)


def test_pairs_that_agree_are_soon_enough():
    assert taken(Record(), [(block(100.0), block(99.0))] * 40) == interval.MIN_PAIRS


@pytest.mark.parametrize("each", [50.0, 200.0])
def test_a_clearly_slower_or_faster_kernel_needs_fewer(each: float):
    assert taken(Record(), [(block(100.0), block(each))] * 40) == interval.CLEAR_PAIRS


def test_a_fixed_number_is_taken_whatever_it_says():
    assert taken(Record(), [(block(100.0), block(200.0))] * 40, fixed=9) == 9


def test_a_kernel_that_is_disturbed_in_most_of_its_pairs_is_measured_in_the_others():
    """As beside an engine whose processes take the cores: five pairs gave two, which was called tampering."""
    disturbed, quiet = (block(100.0), block(100.0, unseen=4000.0)), (block(100.0), block(100.0))
    record = Record()
    number = taken(record, [disturbed, disturbed, quiet] * 14)
    assert len(record.trusted()) >= LEAST_TRUSTED
    assert number > interval.MIN_PAIRS
    assert tampered(record.eager, record.candidate) == ""
    assert interval.estimate(record.trusted()).speedup == pytest.approx(1.0)


@pytest.mark.parametrize("fixed", [None, 9])
def test_who_claims_less_than_the_clock_saw_is_not_measured_for_ever(fixed: int | None):
    record = Record()
    assert taken(record, [(block(100.0), block(10.0, unseen=4000.0))] * 40, fixed) == MOST_DOUBTED
    assert "claims 40 us" in tampered(record.eager, record.candidate)


def test_who_has_no_more_time_is_judged_by_what_there_is():
    record = Record()
    for _ in range(interval.MIN_PAIRS):
        record.add(block(100.0), block(10.0, unseen=4000.0))
    assert not record.enough(None, overdue=False)
    assert record.enough(None, overdue=True)


def test_a_pair_in_which_eager_was_late_is_taken_anew():
    record, late = Record(), (block(600.0, late=True), block(100.0))
    taken(record, [late, (block(100.0), block(100.0))] * 20)
    assert record.late > 0
    assert interval.estimate(record.trusted()).speedup == pytest.approx(1.0)


def test_where_eager_is_always_late_its_pairs_count():
    record = Record()
    number = taken(record, [(block(100.0, late=True), block(99.0))] * 40)
    assert number == MOST_LATE + interval.MIN_PAIRS


def test_who_has_no_more_time_takes_no_pair_anew():
    record = Record()
    for _ in range(interval.MIN_PAIRS):
        record.add(block(100.0, late=True), block(50.0), overdue=True)
    assert record.enough(None, overdue=True)


def test_a_candidates_word_that_it_was_late_counts_for_nothing():
    record = Record()
    candidate = dataclasses.replace(block(99.0), late=True)
    assert taken(record, [(block(100.0), candidate)] * 40) == interval.MIN_PAIRS
    assert record.late == 0
