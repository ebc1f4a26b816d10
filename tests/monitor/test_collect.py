"""Aggregation on constructed counters, events and kernels: no Redis, no clock."""

from __future__ import annotations

from typing import Any

import pytest

from BackendBench.vllm_backend.monitor.report.collect import collect
from BackendBench.vllm_backend.monitor.report.found import Found, wanted_kernels
from BackendBench.vllm_backend.monitor.report.timeline import WorkClock
from BackendBench.vllm_backend.state.run_state import Event, OperationCounters, Run

START = 1_000_000.0


def run(status: Any = "finished", **config: Any) -> Run:
    return Run("r", status, {"engine": "grammar", "target": "cpu", **config}, ["relu"], START, None)


def event(after: float, kind: str, **fields: str) -> Event:
    return Event(f"{int((START + after) * 1000)}-0", START + after, {"kind": kind, **fields})


def verdict(after: float, hash: str, speedup: float = 0.0, error: str = "", **more: str) -> Event:
    fields = {"operation": "relu", "hash": hash, "correct": str(not error), "speedup": str(speedup)}
    return event(after, "verdict", **{**fields, "error_type": error, "worker": "w", **more})


def generated(after: float, **fields: str) -> Event:
    return event(after, "candidate", operation="relu", status="queued", **fields)


def kernel(speedup: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {
        "speedup": speedup, "speedup_low": low, "speedup_high": high, "faster_than_eager": low > 1, "device": "cpu x",
        "model": "m", "timings": [], "versions": {}, "conditions": {}, **more,
    }  # fmt: skip


def found(counters: list[OperationCounters], events: list[Event], **more: Any) -> Found:
    values: dict[str, Any] = {"run": run(), "kernels": {}, "now": START + 500, "alive": False, **more}
    return Found(counters=counters, events=events, **values)


def test_an_empty_run_is_a_report() -> None:
    report = collect(found([], []))
    assert report.counts.generated == 0 and report.operations == ()
    assert report.rates.generated is None  # no time passed: nothing to divide by
    assert report.cost.tokens_per_candidate is None
    assert report.first_correct_after is None
    assert report.timeline.best == {} and report.timeline.complete


def test_counts_are_sums_over_operations_and_rates_are_per_minute_of_work() -> None:
    counters = [
        OperationCounters("relu", requested=8, generated=8, queued=5, duplicates=2, unusable=1, evaluated=5, correct=3,
                          faster=1),
        OperationCounters("add", requested=4, generated=4, queued=4, evaluated=3, correct=0),
    ]  # fmt: skip
    report = collect(found(counters, [event(120, "finished", reason="done")]))
    counts = report.counts
    assert (counts.generated, counts.duplicates, counts.unusable, counts.evaluated) == (12, 2, 1, 8)
    assert (counts.correct, counts.faster, counts.waiting) == (3, 1, 1)
    assert report.work_seconds == 120
    assert report.rates.generated == 6.0 and report.rates.evaluated == 4.0 and report.rates.correct == 1.5


def test_costs_are_per_candidate_and_per_accepted_kernel() -> None:
    counters = [
        OperationCounters("relu", generated=10, evaluated=5, correct=2, tokens=1000, generation_seconds=20.0,
                          gpu_seconds=40.0, stage_seconds={"compile": 5.0, "timing": 10.0}),
        OperationCounters("add", generated=10, evaluated=5, tokens=500),
    ]  # fmt: skip
    report = collect(found(counters, []))
    relu, add = report.operations
    assert relu.cost.tokens_per_candidate == 100 and relu.cost.tokens_per_accepted == 500
    assert relu.cost.evaluation_seconds == 15.0 and relu.cost.evaluation_seconds_per_candidate == 3.0
    assert relu.cost.gpu_seconds_per_accepted == 20.0
    assert add.cost.tokens_per_accepted is None  # none was accepted: not zero
    assert report.cost.tokens_per_accepted == 750
    assert list(report.stage_seconds) == ["timing", "compile"]  # largest first


def test_failures_and_reasons_are_added_up_largest_first() -> None:
    counters = [
        OperationCounters("relu", errors={"timeout": 1, "wrong_values": 2}, unusable_reasons={"no_code": 1}),
        OperationCounters("add", errors={"timeout": 4}, unusable_reasons={"truncated": 3}),
    ]
    report = collect(found(counters, []))
    assert list(report.failures.items()) == [("timeout", 5), ("wrong_values", 2)]
    assert list(report.unusable_reasons.items()) == [("truncated", 3), ("no_code", 1)]


def test_feedback_lag_is_the_mean_over_judged_candidates() -> None:
    counters = [
        OperationCounters("relu", evaluated=4, feedback_lag_sum=10, feedback_lag_max=7),
        OperationCounters("add", evaluated=6, feedback_lag_sum=0),
    ]
    report = collect(found(counters, []))
    assert report.feedback_lag.mean == 1.0 and report.feedback_lag.largest == 7
    assert report.operations[0].feedback_lag.mean == 2.5


def test_the_best_kernel_brings_its_interval_and_when_it_was_found() -> None:
    counters = [OperationCounters("relu", evaluated=2, correct=2, best_speedup=1.1, best_hash="b")]
    kernels = {("relu", "b"): kernel(1.1, 0.95, 1.3), ("relu", "a"): kernel(0.5, 0.4, 0.6)}
    events = [verdict(10, "a", 0.5), verdict(30, "b", 1.1), event(60, "finished")]
    report = collect(found(counters, events, kernels=kernels))
    best = report.operations[0].best
    assert best is not None
    assert (best.speedup, best.speedup_low, best.speedup_high) == (1.1, 0.95, 1.3)
    assert best.faster_than_eager is False  # its interval reaches below 1
    assert best.found_after == 30
    steps = report.timeline.best["relu"]
    assert [(s.after, s.speedup, s.speedup_low, s.speedup_high) for s in steps] == [
        (10, 0.5, 0.4, 0.6), (30, 1.1, 0.95, 1.3)
    ]  # fmt: skip


def test_only_new_bests_and_the_last_verdict_of_each_worker_are_read() -> None:
    counters = [OperationCounters("relu", best_hash="b")]
    events = [
        verdict(1, "a", 1.0), verdict(2, "worse", 0.9), verdict(3, "b", 1.2), verdict(4, "wrong", error="timeout"),
        verdict(5, "x", error="timeout", worker="other"), verdict(6, "k", error="killed_worker", worker="other"),
    ]  # fmt: skip
    assert wanted_kernels(counters, events) == {("relu", h) for h in ("a", "b", "wrong", "x")}


def test_pauses_between_a_stop_and_a_resume_are_no_work() -> None:
    events = [
        event(100, "stopped", reason="interrupted"),
        event(1000, "resumed"),
        event(1050, "finished", reason="x"),
    ]
    counters = [OperationCounters("relu", correct=1, first_correct=START + 1020)]
    report = collect(found(counters, events, now=START + 9999))
    assert report.work_seconds == 150 and report.resumes == 1
    assert report.first_correct_after == 120
    assert report.ended == START + 1050
    assert (report.state, report.reason) == ("finished", "x")


def test_a_killed_run_worked_until_its_last_event() -> None:
    events = [verdict(40, "a", 1.0), event(1000, "resumed"), verdict(1010, "b", 1.0)]
    clock = WorkClock.of(found([], events, run=run("running"), alive=False))
    assert [end - begin for begin, end in clock.spans] == [40, 10]
    report = collect(found([], events, run=run("running"), alive=False))
    assert report.state == "killed"


def test_a_run_in_progress_counts_until_now() -> None:
    report = collect(found([], [verdict(40, "a", 1.0)], run=run("running"), alive=True, now=START + 90))
    assert (report.state, report.ended, report.work_seconds) == ("running", None, 90)


def test_a_failed_run_says_why() -> None:
    stopped = Run("r", "stopped", {}, [], START, START + 60)
    report = collect(found([], [event(60, "failed", reason="no worker is left")], run=stopped))
    assert (report.state, report.reason) == ("failed", "no worker is left")


def test_curves_end_at_the_counters_also_when_old_events_are_gone() -> None:
    counters = [OperationCounters("relu", generated=10, queued=8, evaluated=7, correct=4)]
    events = [
        generated(5),
        verdict(6, "a", 1.0),
        generated(7),
        verdict(8, "b", error="timeout"),
        event(10, "finished"),
    ]
    timeline = collect(found(counters, events)).timeline
    assert not timeline.complete
    first, last = timeline.moments[0], timeline.moments[-1]
    assert (first.generated, first.evaluated, first.correct) == (8, 5, 3)
    assert (last.after, last.generated, last.evaluated, last.correct) == (10, 10, 7, 4)


def test_many_events_are_thinned_and_the_last_one_stays() -> None:
    events = [generated(i) for i in range(5000)]
    counters = [OperationCounters("relu", generated=5000)]
    moments = collect(found(counters, events, now=START + 6000)).timeline.moments
    assert len(moments) < 400 and moments[-1].generated == 5000
    assert [m.generated for m in moments] == sorted(m.generated for m in moments)


def test_deaths_of_workers_are_listed() -> None:
    events = [event(5, "worker_died", worker="r/evaluate-0", code="137", returned="2"), event(9, "finished")]
    (death,) = collect(found([], events)).deaths
    assert (death.worker, death.code, death.after, death.returned) == ("r/evaluate-0", 137, 5, 2)


@pytest.mark.parametrize(
    ("engine", "model", "is_model", "words"),
    [
        ("grammar", None, False, "No language model"),
        (
            "embedded",
            None,
            True,
            "small language model (kernel_lm), trained on kernels of the project's grammar",
        ),
        ("vllm", "Qwen/Qwen2.5-7B-Instruct", True, "Qwen/Qwen2.5-7B-Instruct"),
        ("openai", None, True, "m"),
    ],
)
def test_the_engine_is_named_plainly(engine: str, model: str | None, is_model: bool, words: str) -> None:
    values = found([], [], run=run(engine=engine, model=model), models=() if model else ("m",))
    made = collect(values).engine
    assert made.language_model is is_model and words in made.statement


def test_devices_come_from_the_latest_verdict_of_each_worker() -> None:
    kernels = {
        ("relu", "a"): kernel(0, 0, 0, device="H200", conditions={"temperature_c": "40"}),
        ("relu", "b"): kernel(0, 0, 0, device="H200", conditions={"temperature_c": "50"}),
        ("relu", "c"): kernel(0, 0, 0, device="H100"),
    }
    events = [
        verdict(1, "a", error="timeout"), verdict(2, "b", error="timeout", worker="v"),
        verdict(3, "c", error="timeout", worker="u"),
    ]  # fmt: skip
    devices = collect(found([], events, kernels=kernels)).devices
    assert [(d.device, d.workers) for d in devices] == [("H100", 1), ("H200", 2)]
    assert devices[1].conditions == {"temperature_c": "50"}
