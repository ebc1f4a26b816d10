"""Shares of an engine's time add up to the time in which it had work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.generation.time_share import TimeShare


def test_one_sample_alone_costs_its_whole_time() -> None:
    clock = TimeShare()
    mark = clock.start(10.0, 1)
    assert clock.end(13.0, mark) == 3.0


def test_samples_in_flight_share_each_moment() -> None:
    clock = TimeShare()
    first = clock.start(0.0, 1)
    second = clock.start(2.0, 1)  # first alone for two seconds
    assert clock.end(6.0, first) == pytest.approx(2.0 + 2.0)
    assert clock.end(7.0, second) == pytest.approx(2.0 + 1.0)


def test_what_ends_without_a_result_takes_its_part_along() -> None:
    clock = TimeShare()
    mark = clock.start(0.0, 4)
    clock.drop(4.0, 3)
    assert clock.end(6.0, mark) == pytest.approx(1.0 + 2.0)


def test_idle_time_is_nobody_s() -> None:
    clock = TimeShare()
    clock.end(1.0, clock.start(0.0, 1))
    assert clock.end(101.0, clock.start(100.0, 1)) == pytest.approx(1.0)


def test_no_time_passes_while_the_engine_is_paused() -> None:
    clock = TimeShare()
    mark = clock.start(0.0, 1)
    clock.pause(1.0)
    clock.resume(6.0)
    assert clock.end(8.0, mark) == pytest.approx(3.0)


@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.sampled_from(["start", "end", "drop", "pause", "resume"])), max_size=80
    )
)
def test_the_shares_add_up(steps: list[tuple[float, str]]) -> None:
    clock, now, working, handed_out = TimeShare(), 0.0, 0.0, 0.0
    marks: list[float] = []
    paused = False
    for passed, what in [*steps, (1.0, "resume"), *[(1.0, "end")] * len(steps)]:
        now += passed
        if marks and not paused:
            working += passed
        if what == "start":
            marks.append(clock.start(now, 1))
        elif what in ("end", "drop") and marks:
            handed_out += clock.end(now, marks.pop(0))  # a drop's part is lost: here everything ends properly
        elif what in ("pause", "resume"):
            paused = what == "pause"
            (clock.pause if paused else clock.resume)(now)
    assert clock.in_flight == len(marks) == 0
    assert handed_out == pytest.approx(working, abs=1e-6)
