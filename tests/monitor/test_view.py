"""Progress as a pure view of counters."""

from __future__ import annotations

from typing import Any

from BackendBench.vllm_backend.fleet.pacing import Goal
from BackendBench.vllm_backend.monitor import view as views
from BackendBench.vllm_backend.monitor.view import (
    GpuUse,
    History,
    Surroundings,
    View,
    build,
    chosen_rows,
    line,
    news,
)
from BackendBench.vllm_backend.state.run_state import OperationCounters

GOAL = Goal(candidates_per_op=10)


def counters(
    operation: str = "relu", generated: int = 0, evaluated: int = 0, **more: Any
) -> OperationCounters:
    values = {"requested": generated, "queued": generated, **more}
    return OperationCounters(operation, generated=generated, evaluated=evaluated, **values)


def view(*given: OperationCounters, **more: Any) -> View:
    values: dict[str, Any] = {"history": History(), "around": Surroundings(), "elapsed": 0.0, **more}
    return build(list(given), GOAL, **values)


def history(*points: tuple[float, int, int]) -> History:
    made = History()
    for now, generated, evaluated in points:
        made.add(now, [counters(generated=generated, evaluated=evaluated)])
    return made


def test_no_rate_and_no_eta_before_there_is_something_to_go_by() -> None:
    seen = view(counters(generated=2), history=history((0, 0, 0), (4, 2, 0)))
    assert seen.generated_per_minute is None and seen.eta is None
    assert "per minute" not in line(seen) and "left" not in line(seen)


def test_rates_are_differences_so_a_resumed_run_does_not_inherit_old_ones() -> None:
    seen = view(counters(generated=9, evaluated=9), history=history((100, 5, 5), (130, 9, 7)))
    assert seen.generated_per_minute == 8.0 and seen.evaluated_per_minute == 4.0


def test_rates_forget_what_is_older_than_the_window() -> None:
    points = [(float(t), t, t) for t in range(0, 100)] + [(float(t), 100, 100) for t in range(100, 200, 5)]
    seen = view(counters(), history=history(*points))
    assert seen.generated_per_minute is not None and seen.generated_per_minute < 1


def test_eta_is_what_is_left_over_the_rate_of_settling() -> None:
    # 4 settled in 20 s; 10 + 10 wanted, 4 and 0 settled: 16 left.
    seen = view(
        counters("relu", generated=6, evaluated=4), counters("add"), history=history((0, 0, 0), (20, 6, 4))
    )
    assert seen.eta == 80.0 and not seen.eta_is_limit
    assert "about 1:20 left" in line(seen)


def test_the_time_limit_is_named_when_it_comes_first() -> None:
    known = history((0, 0, 0), (20, 6, 4))
    seen = view(counters(generated=6, evaluated=4), history=known, seconds_left=15.0)
    assert (seen.eta, seen.eta_is_limit) == (15.0, True)
    assert "time is up in 0:15" in line(seen)
    assert view(counters(generated=6, evaluated=4), history=known, seconds_left=500.0).eta == 30.0


def test_nothing_is_left_of_a_run_that_is_done() -> None:
    seen = view(
        counters(generated=10, evaluated=10), history=history((0, 0, 0), (20, 10, 10)), seconds_left=9.0
    )
    assert seen.eta is None and seen.done == 1


def test_an_interval_is_shown_only_with_the_kernel_that_it_belongs_to() -> None:
    around = Surroundings(intervals={"relu": ("old", 1.1, 1.3)})
    assert view(counters(best_hash="old"), around=around).rows[0].interval == (1.1, 1.3)
    assert view(counters(best_hash="new"), around=around).rows[0].interval is None


def test_a_line_holds_counts_queues_workers_and_the_best() -> None:
    around = Surroundings(generation_queue=2, eval_queue=7, generating=1, evaluating=4)
    seen = view(
        counters(generated=6, evaluated=4, correct=3, faster=1, best_speedup=1.5), around=around, elapsed=65
    )
    text = line(seen)
    assert text.startswith("[1:05] 6/10 generated, 4 evaluated, 3 correct, 1 faster")
    assert "queues: 2 groups, 7 candidates; workers: 1 generating, 4 evaluating" in text
    assert text.endswith("best: relu 1.50×")


def test_a_silent_redis_and_a_drain_are_told() -> None:
    seen = view(counters(), around=Surroundings(silent_seconds=12.3), phase="stopped: workers finish")
    assert "stopped: workers finish; Redis has not answered for 12 s" in line(seen)
    assert views.silence(view(counters(), around=Surroundings(silent_seconds=1.0))) == ""


def test_first_correct_first_faster_and_done_are_news_once() -> None:
    before = {"relu": counters(generated=4, evaluated=2)}
    now = counters(generated=10, evaluated=10, correct=2, faster=1, best_speedup=1.5)
    lines = news(before, [now], GOAL)
    assert lines == [
        "relu: first correct kernel, after 10 evaluated",
        "relu: first kernel faster than eager, best so far 1.50×",
        "relu: done, 10 evaluated, best 1.50×",
    ]
    assert news({"relu": now}, [now], GOAL) == []
    assert news({}, [now], GOAL) == []  # what a resumed run had before


def test_a_reached_target_is_news() -> None:
    goal = Goal(candidates_per_op=10, target_speedup=1.4)
    old, now = (
        counters(correct=1, best_speedup=1.1, faster=1),
        counters(correct=1, best_speedup=1.5, faster=1),
    )
    assert news({"relu": old}, [now], goal) == ["relu: target speedup reached, 1.50×"]


def test_many_operations_fit_the_room_those_at_work_first() -> None:
    rows = [counters(f"done{i}", generated=10, evaluated=10, best_speedup=float(i)) for i in range(6)]
    rows += [counters("working", generated=3)]
    rows += [counters(f"waiting{i}") for i in range(6)]
    shown, hidden = chosen_rows(view(*rows), 4)
    assert [row.operation for row in shown] == ["done4", "done5", "working"]
    assert hidden == 10
    assert chosen_rows(view(*rows), 13)[1] == 0


def test_gpus_and_clocks_in_words() -> None:
    assert views.gpu_text(GpuUse("GPU 0", 87, 20 << 30, 80 << 30)) == "GPU 0 87 % busy, 20/80 GiB"
    assert [views.clock(s) for s in (5, 65, 3723)] == ["0:05", "1:05", "1:02:03"]
