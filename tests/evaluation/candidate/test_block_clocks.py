"""How the calls of a block are timed, and how they are queued on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from BackendBench.vllm_backend.evaluation.candidate import block_clocks
from BackendBench.vllm_backend.evaluation.candidate.block_clocks import (
    CYCLES_A_MICROSECOND,
    QUEUED_CALLS,
    TOO_LATE,
    GpuClock,
)


class PretendedGpu:
    """Writes down what is asked of it. A call takes a millisecond more than the one before."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.held: list[int] = []
        self.begins_early = False
        self.now = 0.0

    def hold(self, cycles: int) -> None:
        self.log.append("hold")
        self.held.append(cycles)

    def call(self, number: int) -> int:
        self.log.append("call")
        self.now += number
        return number


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGpu]:
    made = PretendedGpu()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = made.now

        def query(self) -> bool:
            return made.begins_early and made.log.count("hold") == 2

        def elapsed_time(self, other: Event) -> float:
            return other.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "_sleep", made.hold)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: made.log.append("wait"))
    yield made


def calls(gpu: PretendedGpu, count: int) -> list[Callable[[], int]]:
    return [partial(gpu.call, number) for number in range(count)]


def test_a_few_calls_at_a_time_are_queued_behind_a_hold(gpu: PretendedGpu) -> None:
    count = 2 * QUEUED_CALLS + 2
    done = GpuClock(torch.device("cpu")).block(calls(gpu, count), [64] * count, 4096, 1000.0)
    assert done.results == list(range(count))
    assert done.times_us == [1e3 * number for number in range(count)]
    full = ["hold", *["call"] * QUEUED_CALLS, "wait"]
    assert gpu.log == [*full, *full, "hold", "call", "call", "wait"]
    assert sum(gpu.held) == pytest.approx(1000.0 * CYCLES_A_MICROSECOND, rel=1e-3)
    assert gpu.held[0] == gpu.held[1] == pytest.approx(gpu.held[2] * QUEUED_CALLS / 2, rel=1e-3)


@pytest.mark.parametrize("early", [False, True])
def test_a_block_is_late_where_any_of_its_calls_began_before_they_were_queued(
    gpu: PretendedGpu, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(0, 10**9, 1000))  # a microsecond between two looks at the clock
    monkeypatch.setattr(block_clocks, "_clock", lambda: next(ticks))
    gpu.begins_early = early
    count = 3 * QUEUED_CALLS
    done = GpuClock(torch.device("cpu")).block(calls(gpu, count), [64] * count, 4096, 1000.0)
    assert done.late is early
    assert done.queued_us == pytest.approx(3.0 * (TOO_LATE if early else 1.0))


def test_queueing_counts_at_the_rate_of_the_slowest_that_were_queued_together(
    gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU is held up before all alike."""
    ticks = iter([0, 4_000, 4_000, 6_000])  # four calls in 4 us, one in 2
    monkeypatch.setattr(block_clocks, "_clock", lambda: next(ticks))
    count = QUEUED_CALLS + 1
    done = GpuClock(torch.device("cpu")).block(calls(gpu, count), [64] * count, 4096, 1000.0)
    assert done.queued_us == pytest.approx(count * 2.0)


def test_on_a_cpu_each_call_is_timed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]

    def call(us: int) -> int:
        now[0] += 1000 * us
        return us

    monkeypatch.setattr(block_clocks, "_clock", lambda: now[0])
    done = block_clocks.on_cpu([partial(call, us) for us in (3, 1, 7)])
    assert done.results == [3, 1, 7]
    assert done.times_us == [3.0, 1.0, 7.0]
