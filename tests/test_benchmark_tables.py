"""The tables of the documentation, from what the benchmarks' own functions write."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from BackendBench.vllm_backend.state.task import EvaluationTask
from BackendBench.vllm_backend.state.verdict import Verdict, WorkloadTiming
from benchmarks import attacks, clock, evaluation_throughput, tables

HEAD = {
    "date": "2026-01-02",
    "command": "python benchmarks/x.py --out a.json",
    "device": "NVIDIA H200",
    "versions": {"torch": "2.11.0"},
}
PAGE = """# A page

<!-- table: throughput -->

Between.

<!-- table: clock -->
<!-- table: attacks -->

The end.
"""


def clock_file() -> dict[str, Any]:
    timing = WorkloadTiming(
        workload="4096 float32", eager_us=5.0, candidate_us=5.0, speedup=1.01, speedup_low=0.99, speedup_high=1.03,
        samples=15,
    )  # fmt: skip
    verdict = Verdict(task_id="t", run="r", operation="clock", hash="0" * 64, correct=True, timings=(timing,))
    return {**HEAD, "rows": clock.rows([verdict] * 4), "rejected": [], "faster_than_eager": 1, "seconds": 3.0}


def throughput_file() -> dict[str, Any]:
    task = EvaluationTask(
        id="t", run="r", operation="relu", code="x", hash="0" * 64, dsl="numba", target="cpu"
    )
    items = [evaluation_throughput.Item(task, "hang", "infinite_loop")]
    kernel = {
        "correct": False,
        "error_type": "timeout",
        "failing_case": "",
        "error": "no answer",
        "stage_seconds": {"compile": 0.5, "timing": 0.25},
    }
    outcome = {
        "kernels": {task.hash: kernel},
        "seconds": 1.0,
        "start_seconds": 2.0,
        "complaints": [],
        "done_at": [0.5, 1.0],
    }
    passes = [evaluation_throughput.summary(items, outcome)]
    return {**HEAD, "cores": 16, "count": 1, "passes": passes, "differences": []}


def attacks_file(target: str = "cuda", outcome: str = "forbidden_code", problem: str = "") -> dict[str, Any]:
    rows = [
        attacks.Row("attacks", "reads_the_clock", "relu", outcome, "clock_tampering", 1.0, 0.0, problem),
        attacks.Row("controls", "honest", "add", "accepted", "accepted", 1.0, 1.2, ""),
    ]
    return {**HEAD, "target": target, "sandbox": "namespaces", "rows": [asdict(row) for row in rows]}


def written(folder: Path, *documents: dict[str, Any]) -> list[str]:
    names = []
    for number, document in enumerate(documents):
        file = folder / f"{number}.json"
        file.write_text(json.dumps(document))
        names.append(str(file))
    return names


def run(folder: Path, *documents: dict[str, Any]) -> str:
    assert tables.main([*written(folder, *documents), "--docs", str(folder)]) == 0
    return (folder / "evaluation.md").read_text()


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "evaluation.md").write_text(PAGE)
    return tmp_path


def test_every_kind_of_file_goes_to_its_marker_with_date_hardware_and_command(docs):
    page = run(docs, attacks_file(), clock_file(), throughput_file())
    first, second = page.split("Between.")
    assert "| compile | 0.5 | 1 | 500.0 | 0.5 |" in first and "hang | timeout 1" in first
    assert "| 4096 float32 | 5.0 | 4 | 1.01 |" in second
    assert "| reads_the_clock | relu | forbidden_code | clock_tampering | cuda | - |" in second
    for text in ("2026-01-02", "NVIDIA H200", "torch 2.11.0", "`python benchmarks/x.py --out a.json`"):
        assert page.count(text) == 3
    for name in ("throughput", "clock", "attacks"):
        assert page.count(f"<!-- table: {name} -->") == 1


def test_a_second_time_changes_nothing_and_new_numbers_replace_the_old_ones(docs):
    documents = [attacks_file(), clock_file(), throughput_file()]
    once = run(docs, *documents)
    assert run(docs, *documents) == once
    again = run(docs, {**clock_file(), "device": "NVIDIA H100"})
    assert again.count("4096 float32") == 1
    assert "NVIDIA H100" in again
    assert again.count("NVIDIA H200") == 2
    assert again.startswith("# A page") and again.endswith("The end.\n")


def test_two_devices_share_a_row_where_a_file_ended_alike(docs):
    page = run(docs, attacks_file("cpu"), attacks_file("cuda", outcome="accepted", problem="was accepted"))
    assert "| honest | add | accepted | accepted | cpu, cuda | - |" in page
    assert "| reads_the_clock | relu | accepted | clock_tampering | cuda | was accepted |" in page
    assert "Attacks: 1 of 2 ended as they should." in page


def test_text_of_a_hostile_kernel_stays_in_its_cell(docs):
    hostile = "a | b\n<!-- end of table: attacks --> <script>"
    page = run(docs, attacks_file(problem=hostile))
    assert page.count("<!-- end of table: attacks -->") == 1
    assert "<script>" not in page
    assert "a \\| b &lt;!-- end" in page
    assert run(docs, attacks_file(problem=hostile)) == page


def test_a_page_without_markers_is_left_alone(docs):
    (docs / "performance.md").write_text("nothing here\n")
    run(docs, clock_file())
    assert (docs / "performance.md").read_text() == "nothing here\n"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"passes": 3}',
        '{"passes": [], "device": "x", "cores": 1, "count": 1}',
        '{"faster_than_eager": 1, "rows": 3, "device": "x"}',
    ],
)
def test_a_file_of_something_else_is_one_line_and_exit_code_2(docs, capsys, text):
    (docs / "other.json").write_text(text)
    assert tables.main([str(docs / "other.json"), "--docs", str(docs)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert (docs / "evaluation.md").read_text() == PAGE


def test_a_file_that_is_not_there_is_one_line_and_exit_code_2(docs, capsys):
    assert tables.main([str(docs / "absent.json"), "--docs", str(docs)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
