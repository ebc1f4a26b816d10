"""The numbers of the benchmarks of generation: how runs and verdicts become the tables of the documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from BackendBench.vllm_backend.state.verdict import Verdict, WorkloadTiming
from benchmarks import policies, shared_gpu, tables

HEAD = {
    "date": "2026-01-02", "command": "python benchmarks/x.py", "device": "NVIDIA H200", "versions": {"torch": "2.11.0"},
}  # fmt: skip


def report(correct: int, generated: int, **best: float) -> dict[str, Any]:
    """What ``policies`` reads of a run's report."""
    counts = dict.fromkeys(("duplicates", "unusable", "faster"), 0)
    operations = [
        {"operation": name, "best": {"speedup": v, "speedup_low": v, "speedup_high": v} if v else None}
        for name, v in best.items()
    ]
    return {
        "counts": {**counts, "generated": generated, "evaluated": generated - 2, "correct": correct},
        "operations": operations, "work_seconds": 1.0, "failures": {},
    }  # fmt: skip


def runs() -> list[dict[str, Any]]:
    job = policies.Job
    return [
        policies.row(job("rejection", 0), report(2, 10, relu=1.0, add=4.0)),
        policies.row(job("rejection", 1), report(4, 10, relu=1.0, add=1.0, gelu=9.0)),
        policies.row(job("reprompt", 0), report(6, 10, relu=2.0, add=2.0, gelu=0.0)),
    ]


def test_policies_are_compared_over_operations_that_every_run_solved():
    rejection, reprompt = policies.summary(runs())
    assert policies.common_operations(runs()) == ["add", "relu"]
    assert rejection["acceptance"] == pytest.approx({"mean": 0.3, "low": 0.2, "high": 0.4})
    assert rejection["best_speedup"] == pytest.approx({"mean": 1.5, "low": 1.0, "high": 2.0})
    assert reprompt["best_speedup"]["mean"] == pytest.approx(2.0)
    assert reprompt["acceptance_of_evaluated"]["mean"] == pytest.approx(0.75)


def test_an_operation_that_one_seed_did_not_solve_is_shown_with_a_gap():
    found = {one["operation"]: one for one in policies.by_operation(runs())}
    assert found["gelu"] == {"operation": "gelu", "rejection": [None, 9.0], "reprompt": [None]}


def test_flags_of_the_runs_stand_behind_two_dashes():
    given = policies.parse(["--folder", "/x", "--seeds", "3,4", "--", "--engine", "embedded"])
    assert given.flags == ["--engine", "embedded"] and given.seeds == [3, 4]
    assert [job.name for job in policies.jobs(given.seeds)][:3] == [
        "rejection-3",
        "reprompt-3",
        "rejection-4",
    ]


def test_a_run_that_did_not_finish_is_done_again(tmp_path: Path):
    job = policies.Job("reprompt", 0)
    assert policies.report_of(tmp_path, job) is None
    (tmp_path / job.name).mkdir()
    file = tmp_path / job.name / "report.json"
    file.write_text('{"state": "stopped"}')
    assert policies.report_of(tmp_path, job) is None
    file.write_text('{"state": "finished"}')
    assert policies.report_of(tmp_path, job) is not None


def verdict(speedup: float, low: float, high: float, us: float = 10.0, correct: bool = True) -> Verdict:
    timing = WorkloadTiming(
        workload="w", eager_us=us * speedup, candidate_us=us, speedup=speedup, speedup_low=low, speedup_high=high,
        samples=5,
    )  # fmt: skip
    return Verdict(
        task_id="t", run="r", operation="relu", hash="0" * 64, correct=correct, speedup=speedup, speedup_low=low,
        speedup_high=high, timings=(timing,), error_type=None if correct else "wrong_values",  # type: ignore[arg-type]
    )  # fmt: skip


def measured() -> shared_gpu.Measured:
    free = {
        "a": [verdict(1.0, 0.99, 1.01), verdict(1.02, 1.0, 1.03), verdict(0.9, 0.8, 0.95)],
        "b": [verdict(2.0, 1.9, 2.1)],
    }
    shared = {"a": [verdict(1.1, 1.05, 1.2, us=11.0)], "b": [verdict(0.0, 0.0, 0.0, correct=False)]}
    return shared_gpu.Measured(free, shared, 600.0, 50, 10.0, 8.0)


def test_a_kernel_is_compared_by_its_middle_verdicts():
    first, second = shared_gpu.rows(measured())
    assert first["free"] == {"speedup": 1.0, "low": 0.99, "high": 1.01}
    assert first["ratio"] == pytest.approx(1.1) and first["overlap"] is False
    assert first["time_ratio"] == pytest.approx(1.1)
    assert "ratio" not in second and second["rejected"] == ["wrong_values: "]
    total = shared_gpu.totals([first, second])
    assert total["kernels"] == 1 and total["overlapping"] == 0
    assert total["largest_deviation"] == pytest.approx(0.1)


def test_all_of_them_go_to_their_markers(tmp_path: Path):
    documents: dict[str, dict[str, Any]] = {
        "policies": {
            **HEAD, "engine": "e", "common_operations": policies.common_operations(runs()),
            "policies": policies.summary(runs()), "operations": policies.by_operation(runs()),
        },
        "shared_gpu": {
            **HEAD, "engine": "e", "rows": shared_gpu.rows(measured()),
            "totals": shared_gpu.totals(shared_gpu.rows(measured())), "generated_meanwhile": 50,
            "generated_alone_per_minute": 600, "shared_seconds": 10.0, "free_seconds": 8.0,
        },
        "generation": {
            **HEAD, "model": "shape 7b", "candidates": 2048, "group_size": 16, "max_tokens": 300, "ratio": 0.985,
            "tokens_per_second": {"worker": [19000.0], "offline": [19290.0, 19300.0]},
            "candidates_per_minute": 3800.0, "prefix_hit_rate": 0.93,
        },
    }  # fmt: skip
    page = tmp_path / "performance.md"
    page.write_text("".join(f"<!-- table: {name} -->\n" for name in documents))
    for name, document in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    files = [str(tmp_path / f"{name}.json") for name in documents]
    assert tables.main([*files, "--docs", str(tmp_path)]) == 0
    text = page.read_text()
    assert "| rejection | 2 | 20 | 0 | 0 | 16 | 6 | 0 | 30.0 (20.0 to 40.0) |" in text
    assert "| gelu | - 9.000 | - |" in text
    assert "| a | 1.000 [0.990, 1.010] | 1.100 [1.050, 1.200] | 1.100 | no | 1.100 |" in text
    assert "19,000 | 19,290 to 19,300 | 98.5 % | 3,800 | 93.0 % |" in text
    assert text.count("2026-01-02, NVIDIA H200 (torch 2.11.0)") == 3
