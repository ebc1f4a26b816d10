"""The law of how many groups are in flight, step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.generation.controller import (
    COOL_SECONDS,
    FIRST_GROUPS,
    FLOOR_DEPTH,
    MOST_GROUPS,
    GroupController,
    Observation,
    Rate,
)
from BackendBench.vllm_backend.generation.engines.base import Pressure


def seen(
    controller: GroupController, running: int, waiting: int = 0, *, now: float = 0.0, kv: float = 0.1,
    preemptions: int = 0, groups: int | None = None, depth: int = 0, rate: float = 1.0,
) -> GroupController:  # fmt: skip
    """One look at an engine in this state, with the limit in use unless ``groups`` says otherwise."""
    pressure = Pressure(running, waiting, kv, preemptions)
    in_flight = controller.limit if groups is None else groups
    controller.look(Observation(now, in_flight, pressure, depth, rate))
    return controller


def test_it_doubles_until_the_engine_was_full_once() -> None:
    controller = GroupController()
    limits = [seen(controller, running=32).limit for _ in range(3)]
    assert limits == [2 * FIRST_GROUPS, 4 * FIRST_GROUPS, 8 * FIRST_GROUPS]
    seen(controller, running=64, waiting=64)
    full = controller.limit
    seen(controller, running=64)
    assert full < controller.limit <= full * 1.1 + 1, "then it grows by a little"


def test_it_begins_with_half_of_what_the_engine_can_do() -> None:
    controller = GroupController()
    controller.begin(sequences=1024, group_size=8)
    assert controller.limit == 64
    controller.begin(sequences=16, group_size=8)
    assert controller.limit == 64, "a larger limit was reached already"
    seen(controller, running=300, waiting=300, groups=64)
    trimmed = controller.limit
    controller.begin(sequences=1024, group_size=8)
    assert controller.limit == trimmed, "what was seen counts more than what was said"


def test_an_engine_of_unknown_size_and_a_limit_set_by_hand_begin_as_ever() -> None:
    unknown, fixed = GroupController(), GroupController(fixed=3)
    unknown.begin(sequences=0, group_size=8)
    fixed.begin(sequences=1024, group_size=8)
    assert (unknown.limit, fixed.limit) == (FIRST_GROUPS, 3)


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    assert seen(GroupController(), running=8, groups=FIRST_GROUPS - 1).limit == FIRST_GROUPS
    assert seen(GroupController(), running=0).limit == FIRST_GROUPS, "nothing has arrived in the engine yet"


def test_a_small_reserve_may_wait() -> None:
    controller = GroupController()
    seen(controller, running=100, waiting=20)
    assert controller.limit == FIRST_GROUPS


def test_more_than_the_reserve_is_trimmed_from_what_is_in_flight() -> None:
    controller = GroupController()
    for _ in range(5):
        seen(controller, running=32)
    assert controller.limit == 128
    assert seen(controller, running=100, waiting=40, groups=50).limit == 45


def test_preemptions_cut_once_and_cool_down() -> None:
    controller = GroupController()
    for _ in range(4):
        seen(controller, running=32)
    seen(controller, running=32, groups=1, preemptions=0)
    before = controller.limit
    seen(controller, running=32, preemptions=5, now=1.0)
    cut = controller.limit
    assert cut == int(before * 0.67)
    seen(controller, running=32, preemptions=9, now=2.0)
    assert controller.limit == cut, "the same storm cuts once"
    seen(controller, running=32, preemptions=9, now=3.0)
    assert controller.limit == cut, "and there is no growth while it cools"
    seen(controller, running=32, preemptions=9, now=1.0 + COOL_SECONDS)
    assert controller.limit > cut


def test_preemptions_of_the_past_are_not_held_against_it() -> None:
    assert seen(GroupController(), running=32, preemptions=1000).limit == 2 * FIRST_GROUPS


def test_a_full_cache_with_waiting_requests_cuts() -> None:
    controller = GroupController()
    seen(controller, running=32)
    assert seen(controller, running=32, waiting=1, kv=0.99).limit == int(2 * FIRST_GROUPS * 0.67)
    assert seen(GroupController(), running=32, waiting=0, kv=0.99).limit == 2 * FIRST_GROUPS


def test_an_engine_that_says_nothing_keeps_the_first_limit() -> None:
    controller = GroupController()
    for now in range(20):
        controller.look(Observation(now, controller.limit, Pressure(), 0, 1.0))
    assert controller.limit == FIRST_GROUPS


def test_it_holds_while_evaluation_is_behind_and_goes_on_clearly_below() -> None:
    controller = GroupController(digest_seconds=60.0)
    assert seen(controller, 8, depth=120, rate=2.0).room(0) > 0
    assert seen(controller, 8, depth=121, rate=2.0).room(0) == 0, "60 s at 2/s are 120"
    assert seen(controller, 8, depth=61, rate=2.0).holding, "just below is not clearly below"
    assert not seen(controller, 8, depth=60, rate=2.0).holding


def test_evaluators_that_have_not_begun_may_have_a_few_waiting() -> None:
    controller = GroupController()
    assert not seen(controller, 8, depth=FLOOR_DEPTH, rate=0.0).holding
    assert seen(controller, 8, depth=FLOOR_DEPTH + 1, rate=0.0).holding


def test_a_fixed_limit_stays_and_still_holds() -> None:
    controller = GroupController(fixed=7)
    for _ in range(5):
        seen(controller, running=32)
    seen(controller, running=1, waiting=500)
    assert controller.limit == 7 and controller.room(3) == 4
    assert seen(controller, 8, depth=10_000).room(0) == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2000),
            st.integers(0, 2000),
            st.floats(0, 1),
            st.integers(0, 50),
            st.integers(0, 600),
        ),
        max_size=60,
    )
)
def test_whatever_it_sees_the_limit_stays_in_bounds(looks: list[tuple[int, int, float, int, int]]) -> None:
    controller, preemptions = GroupController(), 0
    for now, (running, waiting, kv, more, groups) in enumerate(looks):
        preemptions += more
        seen(controller, running, waiting, now=float(now), kv=kv, preemptions=preemptions, groups=groups)
        assert 1 <= controller.limit <= MOST_GROUPS
        assert controller.room(groups) == max(0, controller.limit - groups)


class Machine:
    """An engine of a given size: what is more than it holds waits in it."""

    def __init__(self, holds: int, group: int) -> None:
        self.holds, self.group = holds, group

    def pressure(self, groups: int) -> Pressure:
        sequences = groups * self.group
        return Pressure(min(sequences, self.holds), max(0, sequences - self.holds), 0.5, 0)


@pytest.mark.parametrize(("holds", "group"), [(512, 8), (256, 1), (16, 4), (1024, 16)])
def test_it_settles_where_the_engine_is_full_and_little_waits(holds: int, group: int) -> None:
    controller, machine = GroupController(), Machine(holds, group)
    settled = []
    for now in range(120):
        groups = controller.limit
        controller.look(Observation(now, groups, machine.pressure(groups), 0, 1.0))
        if now >= 30:
            settled.append(groups * group)
    assert min(settled) >= 0.85 * holds
    assert max(settled) <= 1.6 * holds + group


def test_the_rate_is_over_its_window() -> None:
    rate = Rate(window=10.0)
    assert rate.add(0.0, 100) == 0.0
    assert rate.add(5.0, 110) == 2.0
    assert rate.add(10.0, 110) == 1.0
    assert rate.add(20.0, 110) == 0.0, "nothing in the last ten seconds"


def test_an_emptied_store_starts_the_rate_anew() -> None:
    rate = Rate(window=10.0)
    rate.add(0.0, 100)
    assert rate.add(1.0, 3) == 0.0
    assert rate.add(2.0, 5) == 2.0
