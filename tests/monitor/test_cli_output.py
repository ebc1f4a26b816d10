"""What the reading commands print: as a user runs them, over a real Redis."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import redis

from BackendBench.vllm_backend.fleet.run_directory import RunRecord
from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.worker_registry import WorkerInfo, WorkerRegistry, enter
from tests.commands import CLI, environment, farm
from tests.monitor.books import RUN, end, small_run


@pytest.fixture
def run_dir(redis_client: redis.Redis, tmp_path: Path) -> Path:
    """The directory of the small run, as ``run`` leaves it."""
    small_run(redis_client)
    directory = tmp_path / "runs" / RUN
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps(vars(RunRecord(RUN, "given"))), "utf-8")
    return directory


def test_report_writes_the_files_again_and_prints_them(
    run_dir: Path, redis_client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    end(redis_client)
    done = farm("report", run_dir, "--redis-url", redis_url, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "Failures by class" in done.out and "1.50×" in done.out and "[1.400, 1.625]" in done.out
    assert {path.name for path in run_dir.glob("report.*")} == {"report.json", "report.md", "report.html"}
    as_json = farm("report", run_dir, "--redis-url", redis_url, "--json", cwd=tmp_path)
    printed, written = json.loads(as_json.out), json.loads((run_dir / "report.json").read_text("utf-8"))
    assert printed == written and printed["state"] == "finished"


def test_report_of_a_killed_run_says_killed(run_dir: Path, redis_url: str, tmp_path: Path) -> None:
    done = farm("report", run_dir, "--redis-url", redis_url, "--json", cwd=tmp_path)
    assert json.loads(done.out)["state"] == "killed"


def test_report_refuses_what_it_cannot_report(
    run_dir: Path, redis_client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    redis_client.flushall()
    assert farm("report", run_dir, "--redis-url", redis_url, cwd=tmp_path).refused("knows no run", RUN)
    assert not list(run_dir.glob("report.*"))


def test_status_shows_queues_workers_and_runs(
    run_dir: Path, redis_client: redis.Redis, redis_url: str
) -> None:
    worker = WorkerInfo(f"{RUN}/evaluate-0", "evaluate", "host", 7, "cpu", "busy", "a-task")
    scripts.run(redis_client, enter(worker))
    WorkerRegistry(redis_client).request_shutdown(worker.id)
    done = farm("status", "--redis-url", redis_url, cwd=run_dir)
    assert done.code == 0, done.err
    for text in ("eval_queue", worker.id, "asked to leave", RUN, "running", "softmax"):
        assert text in done.out, done.out
    seen = json.loads(farm("status", "--redis-url", redis_url, "--json", cwd=run_dir).out)
    assert [queue["waiting"] for queue in seen["queues"]] == [3, 6]
    (run,) = seen["runs"]
    assert (run["run"], run["state"], run["workers"]) == (RUN, "running", 1)
    assert run["operations"][0]["evaluated"] == 4
    assert run["generated_per_minute"] > 0


def test_status_of_an_empty_redis(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> None:
    done = farm("status", "--redis-url", redis_url, cwd=tmp_path)
    assert done.code == 0 and "eval_queue" in done.out


def test_status_watch_goes_on_until_its_reader_leaves(run_dir: Path, redis_url: str) -> None:
    command = [*CLI, "status", "--watch", "--json", "--redis-url", redis_url]
    watching = subprocess.Popen(
        command, cwd=run_dir, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None and watching.stderr is not None
    for _ in range(2):
        assert json.loads(watching.stdout.readline())["runs"][0]["run"] == RUN
    watching.stdout.close()
    assert watching.wait(30) == 0
    assert watching.stderr.read() == ""


def test_stats_reads_well(run_dir: Path, redis_url: str) -> None:
    done = farm("stats", "relu", "--redis-url", redis_url, cwd=run_dir)
    assert done.code == 0, done.err
    lines = {line.split("  ")[0].strip(): line for line in done.out.splitlines()}
    assert "50 % of the judged" in lines["correct"]
    assert "1.50×" in lines["best speedup"]
    assert "25 %" in lines["timeout"]
    known = json.loads(farm("stats", "relu", "--redis-url", redis_url, "--json", cwd=run_dir).out)
    assert (known["operation"], known["total_attempts"], known["successful_attempts"]) == ("relu", 4, 2)


def test_best_shows_intervals_and_what_they_mean(run_dir: Path, redis_url: str) -> None:
    done = farm("best", "relu", "--redis-url", redis_url, cwd=run_dir)
    rows = [line for line in done.out.splitlines() if "×" in line]
    assert "1.50×" in rows[0] and "[1.400, 1.625]" in rows[0] and "faster" in rows[0]
    assert "1.02×" in rows[1] and "[0.980, 1.060]" in rows[1] and "undecided" in rows[1]
    code = farm("best", "relu", "-n", "1", "--code", "--redis-url", redis_url, cwd=run_dir)
    assert "relu 2" in code.out and "relu 1" not in code.out


def test_best_of_an_operation_without_a_correct_kernel(run_dir: Path, redis_url: str) -> None:
    done = farm("best", "add", "--redis-url", redis_url, cwd=run_dir)
    assert done.code == 0 and "no correct kernel of add yet" in done.out
