"""The main job with its real parts, some of them killed or all. Nothing is left, lost or counted twice."""

from __future__ import annotations

import random
from pathlib import Path

import psutil
import pytest

from tests.commands import SCRIPT, farm, start
from tests.fleet.processes import eventually, marked
from tests.fleet.running import (
    SMALL,
    check_books,
    nothing_left_running,
    output,
    running_redis,
    store_of,
    the_run,
    verdicts,
    workers,
)

__all__ = ["nothing_left_running"]  # a fixture of every test here

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)  # every start of a worker loads torch
def test_ten_kills_of_any_worker_and_every_task_ends_once(tmp_path: Path) -> None:
    rng = random.Random(5)
    run = start(
        *SMALL, "--candidates-per-op", "12", "--timing", "quick", cwd=tmp_path, program=SCRIPT
    )  # fmt: skip
    killed: list[str] = []
    try:
        while len(killed) < 10:
            assert eventually(lambda: workers(run) or run.poll() is not None, 120)
            assert run.poll() is None, f"ended after {killed}: {output(tmp_path)}"
            # The first kill hits evaluate, the second generate; then whoever chance names.
            role = ["evaluate", "generate", ""][min(len(killed), 2)]
            found = workers(run, role)
            if not found:
                continue
            victim = rng.choice(found)
            killed.append("evaluate" if "evaluate" in victim.cmdline() else "generate")
            victim.kill()
            # At any moment: while it starts, while it claims, while it judges, times, or commits.
            psutil.wait_procs([victim], timeout=10)
            before = verdicts(tmp_path)
            eventually(lambda: verdicts(tmp_path) > before, rng.uniform(0, 6))  # noqa: B023
        assert run.wait(280) == 0, output(tmp_path)
    finally:
        run.kill()
        run.wait()
    assert {"evaluate", "generate"} == set(killed)
    assert not marked(str(tmp_path))
    directory = the_run(tmp_path)
    log = (directory / "logs" / "run.log").read_text()
    assert "SIGKILL" in log  # the deaths were seen, and the workers started again
    with store_of(tmp_path) as client:
        check_books(client, directory.name, 12)


def test_kill_9_of_the_whole_run_and_resume(tmp_path: Path) -> None:
    run = start("run", *SMALL, "--candidates-per-op", "12", cwd=tmp_path)
    assert eventually(lambda: verdicts(tmp_path) >= 2 or run.poll() is not None, 120)
    everybody = workers(run)
    run.kill()
    run.wait()
    _, alive = psutil.wait_procs(everybody, timeout=30)
    assert not alive
    directory = the_run(tmp_path)
    assert running_redis(tmp_path)  # it outlives the run on purpose, and the resumed one takes it over
    done = farm("run", "--resume", directory, cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    assert running_redis(tmp_path) is None
    with store_of(tmp_path) as client:
        check_books(client, directory.name, 12)
