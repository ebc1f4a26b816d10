"""How much to ask for, and when an operation is done."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.fleet import pacing
from BackendBench.vllm_backend.fleet.pacing import Goal
from BackendBench.vllm_backend.search.policy import GroupRequest
from BackendBench.vllm_backend.state.run_state import OperationCounters

counters = st.builds(
    OperationCounters,
    operation=st.just("relu"),
    requested=st.integers(0, 500),
    generated=st.integers(0, 500),
    queued=st.integers(0, 500),
    evaluated=st.integers(0, 500),
    best_speedup=st.floats(0, 10),
)


@given(st.lists(counters, max_size=5), st.integers(1, 8), st.integers(1, 64), st.floats(0, 1000))
def test_capacity_is_whole_groups_and_never_negative(found, generators: int, size: int, rate: float) -> None:
    room = pacing.capacity(found, generators=generators, group_size=size, verdicts_per_second=rate)
    assert room >= 0 and room % size == 0


@given(st.integers(1, 8), st.integers(1, 200), st.sampled_from(["grammar", "vllm", "openai", "embedded"]))
def test_before_the_first_verdict_every_generator_has_its_floor(
    generators: int, size: int, engine: str
) -> None:
    nothing = [OperationCounters("relu")]
    room = pacing.capacity(
        nothing, generators=generators, group_size=size, verdicts_per_second=0.0, engine=engine
    )
    assert room == generators * pacing.least_ahead(engine, size)
    assert room >= 2 * generators * size
    if engine == "grammar":
        assert room == 2 * generators * size
    else:
        least = pacing.BATCHED_AHEAD[engine]
        assert generators * least <= room < generators * (least + 2 * size)


def test_what_is_under_way_takes_up_the_floor() -> None:
    busy = [OperationCounters("relu", requested=100, generated=40, queued=40, evaluated=0)]
    room = pacing.capacity(busy, generators=1, group_size=8, verdicts_per_second=0.0, engine="vllm")
    assert room == 24  # of 128 are 100 under way; whole groups
    assert pacing.capacity(busy, generators=1, group_size=8, verdicts_per_second=0.0, engine="grammar") == 0
    assert (
        pacing.capacity(busy, generators=1, group_size=8, verdicts_per_second=10.0, engine="grammar") == 200
    )


@given(counters, st.integers(1, 500), st.none() | st.floats(0.1, 10))
def test_what_is_done_asks_for_nothing(found: OperationCounters, budget: int, target: float | None) -> None:
    goal = Goal(budget, target)
    if pacing.done(found, goal):
        assert pacing.progress(found, goal).remaining == 0
        assert found.idle


def test_idle_with_budget_left_is_not_done() -> None:
    found = OperationCounters("relu", requested=4, generated=4, queued=4, evaluated=4)
    assert not pacing.done(found, Goal(5))
    assert pacing.done(found, Goal(4))


def test_a_shortfall_is_asked_for_again() -> None:
    # Eight were asked for and one never came: Redis corrected `requested` to seven.
    found = OperationCounters("relu", requested=7, generated=7, queued=7, evaluated=7, shortfall=1)
    assert pacing.progress(found, Goal(8)).remaining == 1


def test_reaching_the_target_by_a_kernel_found_again_counts() -> None:
    found = OperationCounters("relu", best_known_speedup=3.0)
    assert pacing.done(found, Goal(100, 2.0))
    assert not pacing.done(found, Goal(100, 4.0))


def test_group_ids_count_on_from_what_exists() -> None:
    sampling = pacing.Sampling("run", "reprompt", "numba", "cpu", 7, 0.8, 0.95, 100)
    found = [
        OperationCounters("relu", groups={"requested": 3}),
        OperationCounters("add", groups={"requested": 0}),
    ]
    wishes = [GroupRequest("relu", 8), GroupRequest("add", 8, "repair"), GroupRequest("relu", 4)]
    tasks = pacing.groups(wishes, found, sampling)
    assert [task.id for task in tasks] == ["run/relu/3", "run/add/0", "run/relu/4"]
    assert [task.kind for task in tasks] == ["fresh", "repair", "fresh"]
    assert len({task.seed for task in tasks}) == 3


def test_a_seed_gives_the_same_groups_in_every_run() -> None:
    assert pacing.group_seed(1, "relu", 0) == pacing.group_seed(1, "relu", 0)
    assert pacing.group_seed(1, "relu", 0) != pacing.group_seed(2, "relu", 0)
